// The preprocessing kernel's C interface: what it checks and works out, and the launch.
#include "../device/validation.h"
#include "resize.cuh"

namespace pssdet::preprocess {
namespace {

// The most pixels of an image: the indices into its three channels must fit 32 bits.
bool good_size(int32_t height, int32_t width) {
  return height >= 1 && width >= 1 && int64_t(height) * width <= kMost / 3;
}

bool good_scale(double scale) { return scale > 0 && scale <= double(kMost); }

pssdet_status check(const pssdet_preprocess_problem& p) {
  if (!good_size(p.height, p.width) || !good_size(p.out_height, p.out_width)) return PSSDET_BAD_PROBLEM;
  if (!good_size(p.padded_height, p.padded_width)) return PSSDET_BAD_PROBLEM;
  if (p.out_height > p.padded_height || p.out_width > p.padded_width) return PSSDET_BAD_PROBLEM;
  // Coordinates are whole numbers of 32 bits, too.
  if (!good_scale(p.scale_y) || !good_scale(p.scale_x)) return PSSDET_BAD_PROBLEM;
  if (p.out_height * p.scale_y > kMost / 2 || p.out_width * p.scale_x > kMost / 2) return PSSDET_BAD_PROBLEM;
  if (p.interpolation != PSSDET_LINEAR && p.interpolation != PSSDET_CUBIC) return PSSDET_BAD_PROBLEM;
  for (int channel = 0; channel < 3; ++channel) {
    if (!std::isfinite(p.mean[channel]) || !std::isfinite(p.std[channel]) || p.std[channel] == 0)
      return PSSDET_BAD_PROBLEM;
  }
  return PSSDET_OK;
}

pssdet_status prepare(
    const pssdet_preprocess_problem& problem, const uint8_t* pixels, float* out, Arguments* arguments) {
  if (check(problem) != PSSDET_OK) return PSSDET_BAD_PROBLEM;
  if (!pixels || !out || reinterpret_cast<uintptr_t>(out) % sizeof(float)) return PSSDET_BAD_PROBLEM;
  *arguments = {problem, pixels, out, ceil_div(problem.padded_width, kTileWidth)};
  if (problem.height == problem.out_height && problem.width == problem.out_width) {
    arguments->problem.scale_y = arguments->problem.scale_x = 1.0;
  }
  return PSSDET_OK;
}

template <bool Cubic>
pssdet_status launch_resize(const Arguments& arguments, void* stream) {
  return arguments.problem.normalise_first ? launch<Resize<Cubic, true>>(arguments, stream)
                                           : launch<Resize<Cubic, false>>(arguments, stream);
}

}  // namespace
}  // namespace pssdet::preprocess

extern "C" pssdet_status pssdet_preprocess_run(
    const pssdet_preprocess_problem* problem, const uint8_t* pixels, float* out, void* stream) {
  using namespace pssdet::preprocess;
  if (!problem) return PSSDET_BAD_PROBLEM;
  Arguments arguments;
  const pssdet_status status = prepare(*problem, pixels, out, &arguments);
  if (status != PSSDET_OK) return status;
  const bool cubic = problem->interpolation == PSSDET_CUBIC;
  return cubic ? launch_resize<true>(arguments, stream) : launch_resize<false>(arguments, stream);
}
