// What kernels need of CUDA. Compiled by nvcc or NVRTC it is CUDA's own; compiled by a C++ compiler it is an emulator
// (emulator.h) that runs the same kernel source on a CPU, so that tests need no GPU.
#pragma once

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#define PSSDET_HOST_DEVICE __host__ __device__ __forceinline__
#define PSSDET_DEVICE __device__ __forceinline__
#else
#include "emulator.h"
#define PSSDET_HOST_DEVICE inline
#define PSSDET_DEVICE inline
#endif

namespace pssdet {

// Eight halves, as they are loaded and stored at once.
struct alignas(16) Half8 {
  half2 pair[4];
};

PSSDET_DEVICE Half8 load8(const half* from) { return *reinterpret_cast<const Half8*>(from); }
PSSDET_DEVICE void store8(half* to, const Half8& values) { *reinterpret_cast<Half8*>(to) = values; }

PSSDET_HOST_DEVICE constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

}  // namespace pssdet
