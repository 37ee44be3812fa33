// The C interface's part that launches kernels.
#include "direct_kernel.cuh"
#include "fused_kernel.cuh"
#include "tile_choice.h"

namespace pssdet::dcnv2 {
namespace {

template <typename T>
pssdet_status launch_direct(const Arguments& arguments, bool channels_last, void* stream) {
  const DirectArguments all = {arguments, DirectShare::of(arguments.problem)};
  return channels_last ? launch<Direct<T, true>>(all, stream) : launch<Direct<T, false>>(all, stream);
}

pssdet_status launch_fused(const Arguments& arguments, int tile, void* stream) {
  return with_tile(tile, [&](auto which) {
    using Chosen = decltype(which);
    return Chosen::divides(arguments) ? launch<Fused<Chosen, true>>(arguments, stream)
                                      : launch<Fused<Chosen, false>>(arguments, stream);
  });
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

pssdet_status pssdet_dcnv2_run(const pssdet_dcnv2_problem* problem, const pssdet_dcnv2_format* format,
    const void* x, const void* offset, const void* mask, const void* weight, const float* bias, void* y,
    int32_t tile, void* stream) {
  using namespace pssdet::dcnv2;
  if (!problem || !format) return PSSDET_BAD_PROBLEM;
  Arguments arguments;
  const pssdet_status status = prepare(*problem, *format, x, offset, mask, weight, bias, y, &arguments);
  if (status != PSSDET_OK) return status;
  if (is_fused(*problem, *format)) {
    if (tile < PSSDET_AUTO_TILE || tile >= kTiles) return PSSDET_BAD_PROBLEM;
    const int chosen = tile == PSSDET_AUTO_TILE ? choose_tile(arguments, pssdet::current_device()) : tile;
    return launch_fused(arguments, chosen, stream);
  }
  if (tile != PSSDET_AUTO_TILE) return PSSDET_BAD_PROBLEM;
  const bool channels_last = format->data_layout == PSSDET_NHWC;
  if (format->data_type == PSSDET_F16) return launch_direct<half>(arguments, channels_last, stream);
  return launch_direct<float>(arguments, channels_last, stream);
}

}  // extern "C"
