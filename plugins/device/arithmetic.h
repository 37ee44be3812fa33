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
PSSDET_DEVICE double add_rn(double a, double b) { return __dadd_rn(a, b); }
PSSDET_DEVICE double mul_rn(double a, double b) { return __dmul_rn(a, b); }
#else
// Functions of their own: a C++ compiler joins operations within one expression at most.
inline float add_rn(float a, float b) { return a + b; }
inline float mul_rn(float a, float b) { return a * b; }
inline float div_rn(float a, float b) { return a / b; }
inline float sqrt_rn(float a) { return std::sqrt(a); }
inline double add_rn(double a, double b) { return a + b; }
inline double mul_rn(double a, double b) { return a * b; }
#endif

PSSDET_DEVICE float sub_rn(float a, float b) { return add_rn(a, -b); }
PSSDET_DEVICE double sub_rn(double a, double b) { return add_rn(a, -b); }

}  // namespace pssdet
