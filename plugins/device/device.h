// What kernels need of CUDA. Compiled by nvcc or NVRTC it is CUDA's own; compiled by a C++ compiler it is an emulator
// (tests/emulator/) that runs the same kernel source on a CPU, so that tests need no GPU.
#pragma once

#include <cmath>

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#define PSSDET_HOST_DEVICE __host__ __device__ __forceinline__
#define PSSDET_DEVICE __device__ __forceinline__
#else
#include "../tests/emulator/emulator.h"
#define PSSDET_HOST_DEVICE inline
#define PSSDET_DEVICE inline
#endif

namespace pssdet {

// Eight halves, as they are loaded and stored at once.
struct alignas(16) Half8 {
  half2 pair[4];
};

// By way of one type of 16 bytes: member by member, a compiler makes four loads of 4 bytes of it.
PSSDET_DEVICE Half8 load8(const Half8* from) {
  const uint4 bits = __ldg(reinterpret_cast<const uint4*>(from));
  Half8 values;
  memcpy(&values, &bits, sizeof(values));
  return values;
}

PSSDET_DEVICE void store8(half* to, const Half8& values) {
  uint4 bits;
  memcpy(&bits, &values, sizeof(bits));
  *reinterpret_cast<uint4*>(to) = bits;
}

PSSDET_HOST_DEVICE float to_float(float value) { return value; }
PSSDET_HOST_DEVICE float to_float(half value) { return __half2float(value); }
PSSDET_HOST_DEVICE void from_float(float value, float* to) { *to = value; }
PSSDET_HOST_DEVICE void from_float(float value, half* to) { *to = __float2half_rn(value); }

PSSDET_HOST_DEVICE constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// Arithmetic that rounds after every step, as IEEE 754 and the CPU programs do. nvcc joins a product and a sum into one operation with
// one rounding; where a comparison or an integer follows, that could decide otherwise.
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
