// float32 as tensors compute it: every operation rounds. Left to itself a compiler joins a product and a sum to one rounding (FMA),
// and then a box may pass a threshold that it meets in ONNX Runtime.
#pragma once

#include <cmath>

#include "../device/device.h"

namespace pssdet::detection {

struct Single {
  float value;
};

PSSDET_DEVICE Single operator+(Single a, Single b) { return {__fadd_rn(a.value, b.value)}; }
PSSDET_DEVICE Single operator-(Single a, Single b) { return {__fsub_rn(a.value, b.value)}; }
PSSDET_DEVICE Single operator*(Single a, Single b) { return {__fmul_rn(a.value, b.value)}; }
PSSDET_DEVICE Single operator/(Single a, Single b) { return {__fdiv_rn(a.value, b.value)}; }

PSSDET_DEVICE bool is_nan(float value) { return value != value; }

// ONNX Min and Max: NaN if either is, unlike fminf and fmaxf.
PSSDET_DEVICE Single at_most(Single a, Single b) { return a.value < b.value || is_nan(a.value) ? a : b; }
PSSDET_DEVICE Single at_least(Single a, Single b) { return a.value > b.value || is_nan(a.value) ? a : b; }

PSSDET_DEVICE Single exponential(Single a) { return {std::exp(a.value)}; }
PSSDET_DEVICE Single rounded_up(Single a) { return {std::ceil(a.value)}; }

}  // namespace pssdet::detection
