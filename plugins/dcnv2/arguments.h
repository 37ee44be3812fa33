// What a kernel is told: the problem, worked out to strides; and the checks before that.
#pragma once

#include <cstdint>

#include "../device/tensor_view.h"
#include "dcnv2.h"
#include "sampling.h"

namespace pssdet::dcnv2 {

// Limits of the fused kernel: its gather table's shared memory, and the exactness of its division by the channels.
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
    const float dy = offset.at(at.image, 2 * number, at.index), dx = offset.at(at.image, 2 * number + 1, at.index);
    float weight = 1.0f;
    if (mask.data) weight = mask.at(at.image, first_mask + number, at.index);
    if (raw_mask) weight = sigmoid(weight);
    // Division by a constant is a multiplication.
    const int32_t tap_row = problem.kernel_w == 3 ? tap / 3 : tap / problem.kernel_w;
    const int32_t tap_column = tap - tap_row * problem.kernel_w;
    const float y = float(at.y + tap_row * problem.dilation_h) + dy, x = float(at.x + tap_column * problem.dilation_w) + dx;
    return corners_at(y, x, weight, problem.height, problem.width);
  }
};

// Whether the sizes are those of a convolution, and small enough for the kernels' 32-bit indices. On the host, as all below.
pssdet_status check(const pssdet_dcnv2_problem& problem, int32_t* out_h, int32_t* out_w);

// The arguments of a launch; PSSDET_BAD_PROBLEM if anything contradicts anything else.
pssdet_status prepare(const pssdet_dcnv2_problem& problem, const pssdet_dcnv2_format& format, const void* x, const void* offset,
    const void* mask, const void* weight, const float* bias, void* y, Arguments* arguments);

// Whether the fused kernel computes it: half NHWC in whole groups of eight channels, one group, few taps.
bool is_fused(const pssdet_dcnv2_problem& problem, const pssdet_dcnv2_format& format);

}  // namespace pssdet::dcnv2
