// Where a tap of the kernel reads, and with which weights: the arithmetic that all kernels and the CPU reference share.
#pragma once

#include <cmath>
#include <cstdint>

#include "../device/device.h"

namespace pssdet::dcnv2 {

// The four pixels around a sampling point: the top left one, whether the others are another row or column, and the weights of
// (top left, top right, bottom left, bottom right), times the mask. Pixels outside of the image have weight zero and an
// address inside of it, so that every corner can be read without asking.
template <typename Real>
struct Corners {
  int32_t y, x;
  int32_t down, right;  // 0 or 1
  Real weight[4];
};

// Source: ONNX DeformConv-19; modulated_deform_conv of Zhu et al., 2019, equation 1.
//   y, x: the sampling point, in pixels; anything, also not finite. Points at or beyond one pixel outside read zero.
template <typename Real>
PSSDET_HOST_DEVICE Corners<Real> corners_at(Real y, Real x, Real mask, int32_t height, int32_t width) {
  Corners<Real> result = {0, 0, 0, 0, {0, 0, 0, 0}};
  if (!(y > Real(-1) && y < Real(height) && x > Real(-1) && x < Real(width))) return result;  // a NaN ends here too
  const Real floor_y = std::floor(y), floor_x = std::floor(x);
  const Real low_y = y - floor_y, low_x = x - floor_x, high_y = Real(1) - low_y, high_x = Real(1) - low_x;
  const int32_t top = int32_t(floor_y), left = int32_t(floor_x);
  const bool has_top = top >= 0, has_left = left >= 0, has_bottom = top + 1 < height, has_right = left + 1 < width;
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

}  // namespace pssdet::dcnv2
