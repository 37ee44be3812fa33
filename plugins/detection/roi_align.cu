// RoIAlign's C interface: what it checks and works out, and the launch.
#include "../device/tensor_view.h"
#include "../device/validation.h"
#include "roi_align.cuh"

namespace pssdet::roi_align {
namespace {

constexpr int32_t kMostSide = 1 << 24;  // float32 knows every whole number up to here

// Whether the maps have sizes, and one image of each has places that 32 bits count.
bool good_pyramid(const pssdet_pyramid& pyramid, int32_t channels) {
  if (pyramid.levels < 1 || pyramid.levels > PSSDET_MAX_LEVELS) return false;
  for (int32_t i = 0; i < pyramid.levels; ++i) {
    const int64_t height = pyramid.height[i], width = pyramid.width[i];
    if (height < 1 || width < 1 || pyramid.strides[i] < 1 || height > kMostSide || width > kMostSide) return false;
    if (height * width > kMost / ((int64_t(channels) + 7) / 8 * 8)) return false;
  }
  return true;
}

pssdet_status check(const pssdet_roi_align_problem& p) {
  if (p.batch < 0 || p.regions < 0 || p.channels < 1 || !good_pyramid(p.pyramid, p.channels)) return PSSDET_BAD_PROBLEM;
  if (p.output_size < 1 || p.output_size > PSSDET_MAX_OUTPUT_SIZE) return PSSDET_BAD_PROBLEM;
  if (p.sampling_ratio < 0 || p.sampling_ratio > PSSDET_MAX_SAMPLING_RATIO) return PSSDET_BAD_PROBLEM;
  if (!(p.canonical_size > 0) || !std::isfinite(p.canonical_size)) return PSSDET_BAD_PROBLEM;
  if (!finite_from_zero(p.pixel_offset)) return PSSDET_BAD_PROBLEM;
  // Powers of two of float32.
  if (std::abs(int64_t(p.min_level) - p.canonical_level) > 100) return PSSDET_BAD_PROBLEM;
  const int64_t parts = (int64_t(p.channels) + kRoiChannels - 1) / kRoiChannels, regions = int64_t(p.batch) * p.regions;
  return regions > kMost / parts ? PSSDET_BAD_PROBLEM : PSSDET_OK;
}

// Without a region only the problem is set.
pssdet_status prepare(const pssdet_roi_align_problem& problem, pssdet_dtype type, pssdet_layout layout, const void* const* maps,
    const float* rois, void* features, RoiAlignArguments* arguments) {
  if (check(problem) != PSSDET_OK) return PSSDET_BAD_PROBLEM;
  if (type != PSSDET_F16 && !(type == PSSDET_F32 && layout == PSSDET_NCHW)) return PSSDET_BAD_PROBLEM;
  if (layout != PSSDET_NCHW && layout != PSSDET_NHWC) return PSSDET_BAD_PROBLEM;
  arguments->problem = problem;
  if (problem.batch == 0 || problem.regions == 0) return PSSDET_OK;  // empty tensors may have no memory
  if (!maps || !usable({rois, features})) return PSSDET_BAD_PROBLEM;
  arguments->rois = rois;
  arguments->features = features;
  for (int32_t i = 0; i < problem.pyramid.levels; ++i) {
    if (!usable(maps[i])) return PSSDET_BAD_PROBLEM;
    arguments->maps[i] = maps[i];
    arguments->bounds[i] = std::ldexp(1.0f, problem.min_level - problem.canonical_level + i);
  }
  arguments->channel_pitch = padded_channels(problem.channels);
  arguments->parts = ceil_div(problem.channels, kRoiChannels);
  return PSSDET_OK;
}

}  // namespace
}  // namespace pssdet::roi_align

extern "C" {

pssdet_status pssdet_roi_align_check(const pssdet_roi_align_problem* problem) {
  return problem ? pssdet::roi_align::check(*problem) : PSSDET_BAD_PROBLEM;
}

pssdet_status pssdet_roi_align_run(const pssdet_roi_align_problem* problem, pssdet_dtype type, pssdet_layout layout,
    const void* const* maps, const float* rois, void* features, void* stream) {
  using namespace pssdet::roi_align;
  if (!problem) return PSSDET_BAD_PROBLEM;
  RoiAlignArguments arguments = {};
  const pssdet_status status = prepare(*problem, type, layout, maps, rois, features, &arguments);
  if (status != PSSDET_OK) return status;
  if (layout == PSSDET_NHWC) return pssdet::launch<RoiAlign<half, true>>(arguments, stream);
  if (type == PSSDET_F16) return pssdet::launch<RoiAlign<half, false>>(arguments, stream);
  return pssdet::launch<RoiAlign<float, false>>(arguments, stream);
}

}  // extern "C"
