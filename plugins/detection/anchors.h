// From an anchor and its deltas to a box: what the kernels and their reference share.
//
// Source: the ONNX function pssdet.GenerateProposals, operation by operation.
#pragma once

#include "boxes.h"
#include "detection.h"

namespace pssdet::detection {

// log(1000 / 16): keeps exp() finite.
constexpr float kMaxLogScale = 4.135166556742356f;

struct Interval {
  Single low, high;

  PSSDET_DEVICE Interval moved_by(Single distance) const { return {low + distance, high + distance}; }
};

// One axis: the interval moved by a share of its size, scaled by exp(log_scale), and clipped to the image.
PSSDET_DEVICE Interval decoded_axis(
    const pssdet_proposals_problem& problem, Interval anchor, Single shift, Single log_scale, Single image_side) {
  const Single offset = {problem.pixel_offset}, multiple = {problem.clip_multiple}, half = {0.5f}, zero = {0.0f};
  const Single size = anchor.high - anchor.low + offset;
  const Single centre = shift * size + (anchor.low + size * half);
  const Single reach = exponential(at_most(log_scale, {kMaxLogScale})) * size * half;
  const Single bound = rounded_up(image_side / multiple) * multiple - offset;
  return {at_least(at_most(centre - reach, bound), zero), at_least(at_most(centre + reach - offset, bound), zero)};
}

// The box of anchor `kind` of a cell; deltas: dx, dy, dw, dh. It has a NaN where a delta or the image's size is one.
PSSDET_DEVICE Box decoded_anchor(const pssdet_proposals_problem& problem, int32_t level, int32_t kind, int32_t cell,
    const Single* deltas, Single image_height, Single image_width) {
  const int32_t width = problem.pyramid.width[level], stride = problem.pyramid.strides[level];
  const int32_t row = cell / width, column = cell - row * width;
  const float* corners = problem.anchors + 4 * (level * problem.anchors_per_cell + kind);
  const Interval anchor_x = Interval{{corners[0]}, {corners[2]}}.moved_by({float(column * stride)});
  const Interval anchor_y = Interval{{corners[1]}, {corners[3]}}.moved_by({float(row * stride)});
  const Interval x = decoded_axis(problem, anchor_x, deltas[0], deltas[2], image_width);
  const Interval y = decoded_axis(problem, anchor_y, deltas[1], deltas[3], image_height);
  return make_float4(x.low.value, y.low.value, x.high.value, y.high.value);
}

// Not if the box has a NaN.
PSSDET_DEVICE bool is_large_enough(const pssdet_proposals_problem& problem, const Box& box) {
  const Single offset = {problem.pixel_offset};
  const Single width = Single{box.z} - Single{box.x} + offset, height = Single{box.w} - Single{box.y} + offset;
  return width.value >= problem.min_size && height.value >= problem.min_size;
}

}  // namespace pssdet::detection
