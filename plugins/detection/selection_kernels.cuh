// The entry points of the kernels of proposals and of class-wise NMS.
#pragma once

#include "multiclass_nms.cuh"
#include "proposals.cuh"

namespace pssdet::detection {

template <typename Step, typename Arguments, int Threads>
__global__ void __launch_bounds__(Threads, 1) selection_kernel(const __grid_constant__ Arguments arguments) {
#if defined(__CUDA_ARCH__)
  extern __shared__ __align__(16) unsigned char selection_shared[];
  Step(arguments, selection_shared).run();
#endif
}

}  // namespace pssdet::detection
