// Boxes (x, y, z, w) = (low x, low y, high x, high y), and when one of them suppresses another.
#pragma once

#include "exact.h"

namespace pssdet::detection {

using Box = float4;

// A box as NMS without a pixel offset must see it to find the same overlaps. An inverted box, or one with a NaN, becomes a point,
// which overlaps nothing.
PSSDET_DEVICE Box as_seen(const Box& box, float pixel_offset) {
  if (!(box.z >= box.x && box.w >= box.y)) return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  return make_float4(box.x, box.y, add_rn(box.z, pixel_offset), add_rn(box.w, pixel_offset));
}

// Whether intersection over union passes the threshold: boxes as seen, the arithmetic of ONNX Runtime's NonMaxSuppression. With an
// intersection above zero neither area nor their union can be zero: rounding keeps the order of sizes.
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

}  // namespace pssdet::detection
