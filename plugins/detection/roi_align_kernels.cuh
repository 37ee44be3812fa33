// The RoIAlign kernels' entry points.
#pragma once

#include "roi_align.cuh"

namespace pssdet::roi_align {

template <typename T>
__global__ void __launch_bounds__(kRoiThreads, 4) roi_align_kernel(const __grid_constant__ RoiAlignArguments arguments) {
#if defined(__CUDA_ARCH__)
  __shared__ RoiShared shared;
  RoiAlign block(arguments, shared);
  block.locate();
  block.run_channels_first<T>();
#endif
}

__global__ void __launch_bounds__(kRoiThreads, 4)
    roi_align_channels_last_kernel(const __grid_constant__ RoiAlignArguments arguments) {
#if defined(__CUDA_ARCH__)
  __shared__ RoiSharedLast shared;
  RoiAlign block(arguments, shared);
  block.locate();
  block.run_channels_last(shared.results);
#endif
}

}  // namespace pssdet::roi_align
