// float32 as tensors compute it, written as formulas: every operation rounds, or a box might pass a threshold that it meets in ONNX
// Runtime.
#pragma once

#include "../device/arithmetic.h"

namespace pssdet::detection {

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

}  // namespace pssdet::detection
