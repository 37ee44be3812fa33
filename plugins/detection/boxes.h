// Boxes: when one of them suppresses another, and how one follows from an anchor and its deltas.
#pragma once

#include "../device/device.h"
#include "detection.h"

namespace pssdet::detection {

// float32 as formulas in which every operation rounds, as in ONNX Runtime.
struct Single {
  float value;
};

PSSDET_DEVICE Single operator+(Single a, Single b) { return {add_rn(a.value, b.value)}; }
PSSDET_DEVICE Single operator-(Single a, Single b) { return {sub_rn(a.value, b.value)}; }
PSSDET_DEVICE Single operator*(Single a, Single b) { return {mul_rn(a.value, b.value)}; }
PSSDET_DEVICE Single operator/(Single a, Single b) { return {div_rn(a.value, b.value)}; }

PSSDET_DEVICE bool is_nan(float value) { return value != value; }

// ONNX Min and Max: NaN if either is, unlike fminf and fmaxf.
PSSDET_DEVICE Single at_most(Single a, Single b) { return a.value < b.value || is_nan(a.value) ? a : b; }
PSSDET_DEVICE Single at_least(Single a, Single b) { return a.value > b.value || is_nan(a.value) ? a : b; }

PSSDET_DEVICE Single exponential(Single a) { return {std::exp(a.value)}; }
PSSDET_DEVICE Single rounded_up(Single a) { return {std::ceil(a.value)}; }

using Box = float4;  // (low x, low y, high x, high y)

// A box as NMS without a pixel offset must see it. An inverted box, or one with a NaN, becomes a point,
// which overlaps nothing.
PSSDET_DEVICE Box as_seen(const Box& box, float pixel_offset) {
  if (!(box.z >= box.x && box.w >= box.y)) return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  return make_float4(box.x, box.y, add_rn(box.z, pixel_offset), add_rn(box.w, pixel_offset));
}

// Whether intersection over union passes the threshold, with the arithmetic of ONNX Runtime's
// NonMaxSuppression. With an intersection above zero the union is too: rounding keeps the order of sizes.
PSSDET_DEVICE bool overlap(const Box& a, const Box& b, float threshold) {
  const float low_x = fmaxf(a.x, b.x), high_x = fminf(a.z, b.z);
  if (high_x <= low_x) return false;
  const float low_y = fmaxf(a.y, b.y), high_y = fminf(a.w, b.w);
  if (high_y <= low_y) return false;
  const float common = mul_rn(sub_rn(high_x, low_x), sub_rn(high_y, low_y));
  if (common <= 0.0f) return false;
  const float area_a = mul_rn(sub_rn(a.z, a.x), sub_rn(a.w, a.y));
  const float area_b = mul_rn(sub_rn(b.z, b.x), sub_rn(b.w, b.y));
  return div_rn(common, sub_rn(add_rn(area_a, area_b), common)) > threshold;
}

// From anchor and deltas to a box. Source: the ONNX function pssdet.GenerateProposals, operation by operation.

// log(1000 / 16): keeps exp() finite.
constexpr float kMaxLogScale = 4.135166556742356f;

struct Interval {
  Single low, high;

  PSSDET_DEVICE Interval moved_by(Single distance) const { return {low + distance, high + distance}; }
};

// One axis: the interval moved by a share of its size, scaled by exp(log_scale), and clipped to the image.
PSSDET_DEVICE Interval decoded_axis(const pssdet_proposals_problem& problem, Interval anchor, Single shift,
    Single log_scale, Single image_side) {
  const Single offset = {problem.pixel_offset}, multiple = {problem.clip_multiple}, half = {0.5f},
               zero = {0.0f};
  const Single size = anchor.high - anchor.low + offset;
  const Single centre = shift * size + (anchor.low + size * half);
  const Single reach = exponential(at_most(log_scale, {kMaxLogScale})) * size * half;
  const Single bound = rounded_up(image_side / multiple) * multiple - offset;
  return {
      at_least(at_most(centre - reach, bound), zero), at_least(at_most(centre + reach - offset, bound), zero)};
}

// The box of anchor `kind` of a cell; deltas: dx, dy, dw, dh. It has a NaN if a delta or an image size is one.
PSSDET_DEVICE Box decoded_anchor(const pssdet_proposals_problem& problem, int32_t level, int32_t kind,
    int32_t cell, const Single* deltas, Single image_height, Single image_width) {
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
