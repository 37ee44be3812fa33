// What kernels need of CUDA, and tensors in its memory. nvcc and NVRTC compile CUDA's own, a C++ compiler an
// emulator (tests/emulator/) that runs the same kernel source on a CPU, so that tests need no GPU.
#pragma once

#include <cmath>

#include "../dcnv2/dcnv2.h"

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#define PSSDET_HOST_DEVICE __host__ __device__ __forceinline__
#define PSSDET_DEVICE __device__ __forceinline__
#else
#include "../tests/emulator/emulator.h"
#define PSSDET_HOST_DEVICE inline
#define PSSDET_DEVICE inline
#endif

namespace pssdet {

// Eight halves, as they are loaded and stored at once.
struct alignas(16) Half8 {
  half2 pair[4];
};

// By way of one type of 16 bytes: member by member, a compiler makes four loads of 4 bytes of it.
PSSDET_DEVICE Half8 load8(const Half8* from) {
  const uint4 bits = __ldg(reinterpret_cast<const uint4*>(from));
  Half8 values;
  memcpy(&values, &bits, sizeof(values));
  return values;
}

PSSDET_DEVICE void store8(half* to, const Half8& values) {
  uint4 bits;
  memcpy(&bits, &values, sizeof(bits));
  *reinterpret_cast<uint4*>(to) = bits;
}

PSSDET_HOST_DEVICE float to_float(float value) { return value; }
PSSDET_HOST_DEVICE float to_float(half value) { return __half2float(value); }
PSSDET_HOST_DEVICE void from_float(float value, float* to) { *to = value; }
PSSDET_HOST_DEVICE void from_float(float value, half* to) { *to = __float2half_rn(value); }

PSSDET_HOST_DEVICE constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// Arithmetic that rounds after every step: nvcc would join a product and a sum, and a comparison could flip.
PSSDET_DEVICE float add_rn(float a, float b) { return __fadd_rn(a, b); }
PSSDET_DEVICE float mul_rn(float a, float b) { return __fmul_rn(a, b); }
PSSDET_DEVICE float div_rn(float a, float b) { return __fdiv_rn(a, b); }
PSSDET_DEVICE float sqrt_rn(float a) { return __fsqrt_rn(a); }
PSSDET_DEVICE double add_rn(double a, double b) { return __dadd_rn(a, b); }
PSSDET_DEVICE double mul_rn(double a, double b) { return __dmul_rn(a, b); }
PSSDET_DEVICE float sub_rn(float a, float b) { return add_rn(a, -b); }
PSSDET_DEVICE double sub_rn(double a, double b) { return add_rn(a, -b); }

PSSDET_HOST_DEVICE constexpr int32_t padded_channels(int32_t channels) { return ceil_div(channels, 8) * 8; }

// Element (n, channel, pixel) lies at n * image + channel * plane + pixel * step.
struct Strides {
  int64_t image;
  int32_t plane, step;

  static PSSDET_HOST_DEVICE Strides nchw(int32_t channels, int32_t pixels) {
    return {int64_t(pixels) * channels, pixels, 1};
  }
  // pitch: the padded channels.
  static PSSDET_HOST_DEVICE Strides nhwc(int32_t pitch, int32_t pixels) {
    return {int64_t(pixels) * pitch, 1, pitch};
  }

  PSSDET_DEVICE int64_t at(int32_t n, int32_t channel, int32_t pixel) const {
    return n * image + int64_t(channel) * plane + int64_t(pixel) * step;
  }
};

// A tensor [batch, channels, pixels] in device memory, half or float32, of which single values are read.
struct TensorView {
  const void* data;
  bool is_half;
  Strides strides;

  PSSDET_DEVICE float at(int32_t n, int32_t channel, int32_t pixel) const {
    const int64_t i = strides.at(n, channel, pixel);
    return is_half ? __half2float(static_cast<const half*>(data)[i]) : static_cast<const float*>(data)[i];
  }
};

inline TensorView view_of(
    const void* data, pssdet_dtype type, pssdet_layout layout, int32_t channels, int32_t pixels) {
  const bool channels_last = layout == PSSDET_NHWC;
  return {data, type == PSSDET_F16,
      channels_last ? Strides::nhwc(padded_channels(channels), pixels) : Strides::nchw(channels, pixels)};
}

}  // namespace pssdet
