// OpenCV's interpolation along one axis: which pixels, with which weights.
#pragma once

#include <cmath>
#include <cstdint>

#include "../device/arithmetic.h"

namespace pssdet::preprocess {

constexpr int kMostTaps = 4;
constexpr float kFixedOne = 2048.0f;  // of fixed-point weights

struct Taps {
  int32_t pixel[kMostTaps];
  float weight[kMostTaps];
};

PSSDET_DEVICE int32_t clamp(int32_t value, int32_t last) { return value < 0 ? 0 : value > last ? last : value; }

// Where the output pixel `index` lies among the picture's pixels: `cell`, and how far from it to the next.
PSSDET_DEVICE double coordinate(int32_t index, double scale) { return sub_rn(mul_rn(double(index) + 0.5, scale), 0.5); }

// Two pixels with weights in float32.
PSSDET_DEVICE Taps linear_taps(int32_t index, double scale, int32_t pixels) {
  const double at = coordinate(index, scale), floor_at = std::floor(at);
  const int32_t cell = int32_t(floor_at);
  const float next = float(at - floor_at);
  return {{clamp(cell, pixels - 1), clamp(cell + 1, pixels - 1)}, {1.0f - next, next}};
}

// Two pixels with whole weights, 2048 for one, from a coordinate in float32. Along a row, OpenCV gives all the weight to a
// border's pixel; along a column it shares it between two equal ones, which is rounded otherwise.
PSSDET_DEVICE Taps fixed_taps(int32_t index, double scale, int32_t pixels, bool along_row) {
  const float at = float(coordinate(index, scale)), floor_at = std::floor(at);
  const int32_t cell = int32_t(floor_at);
  const bool at_border = cell < 0 || cell >= pixels - 1;
  const float next = along_row && at_border ? 0.0f : sub_rn(at, floor_at);
  return {{clamp(cell, pixels - 1), clamp(cell + 1, pixels - 1)},
      {std::rint(mul_rn(sub_rn(1.0f, next), kFixedOne)), std::rint(mul_rn(next, kFixedOne))}};
}

// Keys' cubic convolution (1981) with A = -0.75; the last weight makes the sum one.
PSSDET_DEVICE Taps cubic_taps(int32_t index, double scale, int32_t pixels) {
  constexpr float kA = -0.75f;
  const double at = coordinate(index, scale), floor_at = std::floor(at);
  const int32_t cell = int32_t(floor_at);
  const float x = float(at - floor_at), y = 1.0f - x;
  Taps taps;
  for (int i = 0; i < kMostTaps; ++i) taps.pixel[i] = clamp(cell - 1 + i, pixels - 1);
  taps.weight[0] = ((kA * (x + 1.0f) - 5.0f * kA) * (x + 1.0f) + 8.0f * kA) * (x + 1.0f) - 4.0f * kA;
  taps.weight[1] = ((kA + 2.0f) * x - (kA + 3.0f)) * x * x + 1.0f;
  taps.weight[2] = ((kA + 2.0f) * y - (kA + 3.0f)) * y * y + 1.0f;
  taps.weight[3] = 1.0f - taps.weight[0] - taps.weight[1] - taps.weight[2];
  return taps;
}

}  // namespace pssdet::preprocess
