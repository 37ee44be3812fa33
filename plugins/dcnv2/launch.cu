// The C interface's CUDA part.
#include <cuda_runtime.h>

#include "kernels.cuh"
#include "problem.h"

namespace pssdet::dcnv2 {
namespace {

constexpr int kSharedWithoutAsking = 48 * 1024;

int multiprocessors() {
  int device = 0, count = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return 0;
  return cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device) == cudaSuccess ? count : 0;
}

pssdet_status finished() { return cudaGetLastError() == cudaSuccess ? PSSDET_OK : PSSDET_CUDA_ERROR; }

template <typename Tile>
pssdet_status launch_fused(const Arguments& arguments, int64_t blocks, cudaStream_t stream) {
  if (blocks > INT32_MAX) return PSSDET_BAD_PROBLEM;
  const int shared = Tile::shared_bytes(arguments.taps());
  if (shared > kSharedWithoutAsking &&
      cudaFuncSetAttribute(fused_kernel<Tile>, cudaFuncAttributeMaxDynamicSharedMemorySize, shared) != cudaSuccess) {
    cudaGetLastError();
    return PSSDET_CUDA_ERROR;
  }
  fused_kernel<Tile><<<unsigned(blocks), Tile::kThreads, shared, stream>>>(arguments);
  return finished();
}

template <typename T>
pssdet_status launch_direct(const Arguments& arguments, bool channels_last, cudaStream_t stream) {
  const int64_t blocks = direct_blocks(arguments);
  if (blocks > INT32_MAX) return PSSDET_BAD_PROBLEM;
  if (channels_last) {
    direct_kernel<T, true><<<unsigned(blocks), kDirectThreads, 0, stream>>>(arguments);
  } else {
    direct_kernel<T, false><<<unsigned(blocks), kDirectThreads, 0, stream>>>(arguments);
  }
  return finished();
}

}  // namespace
}  // namespace pssdet::dcnv2

extern "C" {

int32_t pssdet_dcnv2_tile_count(const pssdet_dcnv2_problem* problem, const pssdet_dcnv2_format* format) {
  using namespace pssdet::dcnv2;
  int32_t out_h = 0, out_w = 0;
  if (!problem || !format || check(*problem, &out_h, &out_w) != PSSDET_OK) return 0;
  return is_fused(*problem, *format) ? kTiles : 0;
}

pssdet_status pssdet_dcnv2_run(const pssdet_dcnv2_problem* problem, const pssdet_dcnv2_format* format, const void* x,
    const void* offset, const void* mask, const void* weight, const float* bias, void* y, int32_t tile, void* stream) {
  using namespace pssdet::dcnv2;
  if (!problem || !format) return PSSDET_BAD_PROBLEM;
  Arguments arguments;
  const pssdet_status status = prepare(*problem, *format, x, offset, mask, weight, bias, y, &arguments);
  if (status != PSSDET_OK) return status;
  const cudaStream_t on = static_cast<cudaStream_t>(stream);
  const bool channels_last = format->data_layout == PSSDET_NHWC;
  if (is_fused(*problem, *format)) {
    if (tile < PSSDET_AUTO_TILE || tile >= kTiles) return PSSDET_BAD_PROBLEM;
    const int chosen = tile == PSSDET_AUTO_TILE ? choose_tile(arguments, multiprocessors()) : tile;
    return with_tile(
        chosen, [&](auto which) { return launch_fused<decltype(which)>(arguments, blocks_of(arguments, chosen), on); });
  }
  if (tile != PSSDET_AUTO_TILE) return PSSDET_BAD_PROBLEM;
  if (format->data_type == PSSDET_F16) return launch_direct<half>(arguments, channels_last, on);
  return launch_direct<float>(arguments, channels_last, on);
}

}  // extern "C"
