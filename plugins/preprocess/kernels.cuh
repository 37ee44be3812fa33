// The preprocessing kernel's entry points.
#pragma once

#include "resize.cuh"

namespace pssdet::preprocess {

template <bool Cubic, bool NormaliseFirst>
__global__ void __launch_bounds__(kThreads, 4) resize_kernel(const __grid_constant__ Arguments arguments) {
#if defined(__CUDA_ARCH__)
  __shared__ Shared shared;
  Resize<Cubic, NormaliseFirst>(arguments, shared).run();
#endif
}

}  // namespace pssdet::preprocess
