// The kernels' entry points.
#pragma once

#include "direct_kernel.cuh"
#include "tiles.h"

namespace pssdet::dcnv2 {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
using TensorCore = Wmma;
#elif defined(__CUDA_ARCH__)
using TensorCore = MmaSync;
#endif

template <typename Tile>
__global__ void __launch_bounds__(Tile::kThreads, 1) fused_kernel(const __grid_constant__ Arguments arguments) {
#if defined(__CUDA_ARCH__)
  extern __shared__ __align__(128) unsigned char shared[];
  Fused<TensorCore, Tile>(arguments, shared).run();
#endif
}

template <typename T, bool ChannelsLast>
__global__ void __launch_bounds__(kDirectThreads, 2) direct_kernel(const __grid_constant__ Arguments arguments) {
#if defined(__CUDA_ARCH__)
  __shared__ DirectShared shared;
  Direct<T>(arguments, ChannelsLast, shared).run();
#endif
}

}  // namespace pssdet::dcnv2
