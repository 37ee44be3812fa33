// The RoIAlign kernel's C interface.
#include <cuda_runtime.h>

#include "roi_align_kernels.cuh"

extern "C" pssdet_status pssdet_roi_align_run(const pssdet_roi_align_problem* problem, pssdet_dtype type, pssdet_layout layout,
    const void* const* maps, const float* rois, void* features, void* stream) {
  using namespace pssdet::roi_align;
  if (!problem) return PSSDET_BAD_PROBLEM;
  RoiAlignArguments arguments;
  uint32_t blocks = 0;
  const pssdet_status status = prepare(*problem, type, layout, maps, rois, features, &arguments, &blocks);
  if (status != PSSDET_OK || blocks == 0) return status;
  const cudaStream_t on = static_cast<cudaStream_t>(stream);
  if (layout == PSSDET_NHWC) {
    roi_align_channels_last_kernel<<<blocks, kRoiThreads, 0, on>>>(arguments);
  } else if (type == PSSDET_F16) {
    roi_align_kernel<half><<<blocks, kRoiThreads, 0, on>>>(arguments);
  } else {
    roi_align_kernel<float><<<blocks, kRoiThreads, 0, on>>>(arguments);
  }
  return cudaGetLastError() == cudaSuccess ? PSSDET_OK : PSSDET_CUDA_ERROR;
}
