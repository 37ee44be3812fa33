// What the preprocessing kernel's C interface checks and works out before anything is computed.
#include <cmath>
#include <limits>

#include "arguments.h"

namespace pssdet::preprocess {
namespace {

constexpr int64_t kMostValues = std::numeric_limits<int32_t>::max();  // of the picture and of the result

// Three channels of so many pixels, whose places 32 bits count.
bool good_size(int32_t height, int32_t width) { return height >= 1 && width >= 1 && int64_t(height) * width <= kMostValues / 3; }

bool good_scale(double scale) { return scale > 0 && scale <= double(kMostValues); }

pssdet_status check(const pssdet_preprocess_problem& p) {
  if (!good_size(p.height, p.width) || !good_size(p.out_height, p.out_width)) return PSSDET_BAD_PROBLEM;
  if (!good_size(p.padded_height, p.padded_width)) return PSSDET_BAD_PROBLEM;
  if (p.out_height > p.padded_height || p.out_width > p.padded_width) return PSSDET_BAD_PROBLEM;
  // Coordinates are whole numbers of 32 bits, too.
  if (!good_scale(p.scale_y) || !good_scale(p.scale_x)) return PSSDET_BAD_PROBLEM;
  if (p.out_height * p.scale_y > kMostValues / 2 || p.out_width * p.scale_x > kMostValues / 2) return PSSDET_BAD_PROBLEM;
  if (p.interpolation != PSSDET_LINEAR && p.interpolation != PSSDET_CUBIC) return PSSDET_BAD_PROBLEM;
  for (int channel = 0; channel < 3; ++channel) {
    if (!std::isfinite(p.mean[channel]) || !std::isfinite(p.std[channel]) || p.std[channel] == 0) return PSSDET_BAD_PROBLEM;
  }
  return PSSDET_OK;
}

}  // namespace

pssdet_status prepare(
    const pssdet_preprocess_problem& problem, const uint8_t* pixels, float* out, Arguments* arguments, uint32_t* blocks) {
  if (check(problem) != PSSDET_OK) return PSSDET_BAD_PROBLEM;
  if (!pixels || !out || reinterpret_cast<uintptr_t>(out) % sizeof(float)) return PSSDET_BAD_PROBLEM;
  *arguments = {problem, pixels, out, ceil_div(problem.padded_width, kTileWidth)};
  if (problem.height == problem.out_height && problem.width == problem.out_width) {
    arguments->problem.scale_y = arguments->problem.scale_x = 1.0;
  }
  *blocks = uint32_t(arguments->tiles_per_row) * uint32_t(ceil_div(problem.padded_height, kTileHeight));
  return PSSDET_OK;
}

}  // namespace pssdet::preprocess

extern "C" pssdet_status pssdet_preprocess_check(const pssdet_preprocess_problem* problem) {
  return problem ? pssdet::preprocess::check(*problem) : PSSDET_BAD_PROBLEM;
}
