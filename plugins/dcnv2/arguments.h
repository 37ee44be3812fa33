// A kernel's arguments: the problem with its strides, and where a tap reads; and the checks before a launch.
#pragma once

#include <cmath>
#include <cstdint>

#include "../device/device.h"

namespace pssdet::dcnv2 {

// The four pixels around a sampling point: the top left one, whether the others are another row or column, and
// the weights of (top left, top right, bottom left, bottom right), times the mask. Pixels outside have weight
// zero and an address inside.
template <typename Real>
struct Corners {
  int32_t y, x;
  int32_t down, right;  // 0 or 1
  Real weight[4];
};

// Source: ONNX DeformConv-19; modulated_deform_conv of Zhu et al., 2019, equation 1.
//   y, x: the sampling point, in pixels, perhaps not finite. Points at or beyond one pixel outside read zero.
template <typename Real>
PSSDET_HOST_DEVICE Corners<Real> corners_at(Real y, Real x, Real mask, int32_t height, int32_t width) {
  Corners<Real> result = {0, 0, 0, 0, {0, 0, 0, 0}};
  if (!(y > Real(-1) && y < Real(height) && x > Real(-1) && x < Real(width)))
    return result;  // a NaN ends here too
  const Real floor_y = std::floor(y), floor_x = std::floor(x);
  const Real low_y = y - floor_y, low_x = x - floor_x, high_y = Real(1) - low_y, high_x = Real(1) - low_x;
  const int32_t top = int32_t(floor_y), left = int32_t(floor_x);
  const bool has_top = top >= 0, has_left = left >= 0, has_bottom = top + 1 < height,
             has_right = left + 1 < width;
  result.weight[0] = has_top && has_left ? mask * high_y * high_x : Real(0);
  result.weight[1] = has_top && has_right ? mask * high_y * low_x : Real(0);
  result.weight[2] = has_bottom && has_left ? mask * low_y * high_x : Real(0);
  result.weight[3] = has_bottom && has_right ? mask * low_y * low_x : Real(0);
  result.y = has_top ? top : 0;
  result.x = has_left ? left : 0;
  result.down = has_top && has_bottom;
  result.right = has_left && has_right;
  return result;
}

template <typename Real>
PSSDET_HOST_DEVICE Real sigmoid(Real x) {
  return Real(1) / (Real(1) + std::exp(-x));
}

// Limits of the fused kernel: its gather table's shared memory, and its exact division by the channels.
constexpr int32_t kMaxFusedTaps = 9;
constexpr int32_t kMaxFusedChannels = 1 << 14;

// An output pixel, and the input pixel of its first tap, which may lie outside of the image.
struct OutputPixel {
  int32_t image, index, y, x;
};

struct Arguments {
  pssdet_dcnv2_problem problem;
  int32_t out_h, out_w;
  const void* x;
  const void* weight;
  const float* bias;  // may be null
  void* y;
  TensorView offset, mask;  // mask.data may be null: all ones
  int32_t first_mask;       // channel of the first mask
  bool raw_mask, relu;
  int32_t channel_pitch;      // of x, NHWC: values between two pixels
  int32_t out_channel_pitch;  // of y, NHWC

  PSSDET_HOST_DEVICE int32_t taps() const { return problem.kernel_h * problem.kernel_w; }
  PSSDET_HOST_DEVICE int32_t pixels() const { return out_h * out_w; }

  PSSDET_DEVICE OutputPixel pixel(int32_t n, int32_t index) const {
    const int32_t row = index / out_w, column = index - row * out_w;
    return {n, index, row * problem.stride_h - problem.pad_top, column * problem.stride_w - problem.pad_left};
  }

  // Where tap `tap` of offset group `group` reads for an output pixel.
  PSSDET_DEVICE Corners<float> corners(const OutputPixel& at, int32_t group, int32_t tap) const {
    const int32_t number = group * taps() + tap;
    const float dy = offset.at(at.image, 2 * number, at.index),
                dx = offset.at(at.image, 2 * number + 1, at.index);
    float weight = 1.0f;
    if (mask.data) weight = mask.at(at.image, first_mask + number, at.index);
    if (raw_mask) weight = sigmoid(weight);
    // Division by a constant is a multiplication.
    const int32_t tap_row = problem.kernel_w == 3 ? tap / 3 : tap / problem.kernel_w;
    const int32_t tap_column = tap - tap_row * problem.kernel_w;
    const float y = float(at.y + tap_row * problem.dilation_h) + dy,
                x = float(at.x + tap_column * problem.dilation_w) + dx;
    return corners_at(y, x, weight, problem.height, problem.width);
  }
};

// Whether the sizes are a convolution's, and small enough for 32-bit indices. On the host, as all below.
pssdet_status check(const pssdet_dcnv2_problem& problem, int32_t* out_h, int32_t* out_w);

// The arguments of a launch; PSSDET_BAD_PROBLEM if anything contradicts anything else.
pssdet_status prepare(const pssdet_dcnv2_problem& problem, const pssdet_dcnv2_format& format, const void* x,
    const void* offset, const void* mask, const void* weight, const float* bias, void* y, Arguments* arguments);

// Whether the fused kernel computes it: half NHWC in whole groups of eight channels, one group, few taps.
bool is_fused(const pssdet_dcnv2_problem& problem, const pssdet_dcnv2_format& format);

}  // namespace pssdet::dcnv2
