// The preprocessing kernel's C interface.
#include <cuda_runtime.h>

#include "kernels.cuh"

extern "C" pssdet_status pssdet_preprocess_run(
    const pssdet_preprocess_problem* problem, const uint8_t* pixels, float* out, void* stream) {
  using namespace pssdet::preprocess;
  if (!problem) return PSSDET_BAD_PROBLEM;
  Arguments arguments;
  uint32_t blocks = 0;
  const pssdet_status status = prepare(*problem, pixels, out, &arguments, &blocks);
  if (status != PSSDET_OK) return status;
  const cudaStream_t on = static_cast<cudaStream_t>(stream);
  if (problem->interpolation == PSSDET_CUBIC) {
    if (problem->normalise_first) {
      resize_kernel<true, true><<<blocks, kThreads, 0, on>>>(arguments);
    } else {
      resize_kernel<true, false><<<blocks, kThreads, 0, on>>>(arguments);
    }
  } else if (problem->normalise_first) {
    resize_kernel<false, true><<<blocks, kThreads, 0, on>>>(arguments);
  } else {
    resize_kernel<false, false><<<blocks, kThreads, 0, on>>>(arguments);
  }
  return cudaGetLastError() == cudaSuccess ? PSSDET_OK : PSSDET_CUDA_ERROR;
}
