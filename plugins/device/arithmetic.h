// Arithmetic that rounds after every step, as IEEE 754 and the CPU programs do. nvcc joins a product and a sum into one operation with
// one rounding; where a comparison or an integer follows, that could decide otherwise.
#pragma once

#include <cmath>

#include "device.h"

namespace pssdet {

#if defined(__CUDACC__)
PSSDET_DEVICE float add_rn(float a, float b) { return __fadd_rn(a, b); }
PSSDET_DEVICE float mul_rn(float a, float b) { return __fmul_rn(a, b); }
PSSDET_DEVICE float div_rn(float a, float b) { return __fdiv_rn(a, b); }
PSSDET_DEVICE float sqrt_rn(float a) { return __fsqrt_rn(a); }
#else
// Functions of their own: a C++ compiler joins operations within one expression at most.
inline float add_rn(float a, float b) { return a + b; }
inline float mul_rn(float a, float b) { return a * b; }
inline float div_rn(float a, float b) { return a / b; }
inline float sqrt_rn(float a) { return std::sqrt(a); }
#endif

PSSDET_DEVICE float sub_rn(float a, float b) { return add_rn(a, -b); }

}  // namespace pssdet
