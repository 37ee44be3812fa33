// A tensor [batch, channels, pixels] in device memory, half or float32, of which single values are read.
#pragma once

#include "../dcnv2/dcnv2.h"
#include "device.h"

namespace pssdet {

// NHWC pads the channels of a pixel to a multiple of eight.
PSSDET_HOST_DEVICE constexpr int32_t padded_channels(int32_t channels) { return ceil_div(channels, 8) * 8; }

// Element (n, channel, pixel) lies at n * image + channel * plane + pixel * step.
struct Strides {
  int64_t image;
  int32_t plane, step;

  static PSSDET_HOST_DEVICE Strides nchw(int32_t channels, int32_t pixels) { return {int64_t(pixels) * channels, pixels, 1}; }
  // pitch: the padded channels.
  static PSSDET_HOST_DEVICE Strides nhwc(int32_t pitch, int32_t pixels) { return {int64_t(pixels) * pitch, 1, pitch}; }

  PSSDET_DEVICE int64_t at(int32_t n, int32_t channel, int32_t pixel) const {
    return n * image + int64_t(channel) * plane + int64_t(pixel) * step;
  }
};

struct TensorView {
  const void* data;
  bool is_half;
  Strides strides;

  PSSDET_DEVICE float at(int32_t n, int32_t channel, int32_t pixel) const {
    const int64_t i = strides.at(n, channel, pixel);
    return is_half ? __half2float(static_cast<const half*>(data)[i]) : static_cast<const float*>(data)[i];
  }
};

inline TensorView view_of(const void* data, pssdet_dtype type, pssdet_layout layout, int32_t channels, int32_t pixels) {
  const bool channels_last = layout == PSSDET_NHWC;
  return {data, type == PSSDET_F16,
      channels_last ? Strides::nhwc(padded_channels(channels), pixels) : Strides::nchw(channels, pixels)};
}

}  // namespace pssdet
