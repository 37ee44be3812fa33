// The C interface of proposals, class-wise NMS and RoIAlign: what it checks and works out, and the launches.
#include "../device/validation.h"
#include "multiclass_nms.cuh"
#include "proposals.cuh"
#include "roi_align.cuh"

namespace pssdet::detection {
namespace {

int64_t chunks_of(const pssdet_proposals_problem& p, int level) {
  const int64_t anchors = int64_t(p.pyramid.height[level]) * p.pyramid.width[level] * p.anchors_per_cell;
  return (anchors + kChunk - 1) / kChunk;
}

bool is_valid_level(const pssdet_proposals_problem& p, int level) {
  const pssdet_pyramid& of = p.pyramid;
  if (!within(of.height[level], kMost) || !within(of.width[level], kMost) || !within(of.strides[level], kMost))
    return false;
  // Deltas are counted by channel and cell, which leaves room for the last chunk too; corners by pixel.
  return int64_t(of.height[level]) * of.width[level] <= kMost / 4 / (PSSDET_MAX_ANCHORS + 8) &&
      of.height[level] <= kMost / of.strides[level] && of.width[level] <= kMost / of.strides[level];
}

bool is_valid(const pssdet_proposals_problem& p) {
  if (!within(p.batch, kMost) || !within(p.pyramid.levels, PSSDET_MAX_LEVELS)) return false;
  if (!within(p.anchors_per_cell, PSSDET_MAX_ANCHORS)) return false;
  if (!within(p.pre_nms_top_n, PSSDET_MAX_CANDIDATES) || !within(p.post_nms_top_n, PSSDET_MAX_CANDIDATES))
    return false;
  if (!is_share(p.nms_threshold) || !std::isfinite(p.min_size) || !finite_from_zero(p.pixel_offset))
    return false;
  if (!finite_from_zero(p.clip_multiple) || p.clip_multiple == 0) return false;
  int64_t chunks = 0;
  for (int level = 0; level < p.pyramid.levels; ++level) {
    if (!is_valid_level(p, level)) return false;
    chunks += chunks_of(p, level);
  }
  return chunks <= kMost / 2 / p.pre_nms_top_n && p.batch <= kMost / (chunks + PSSDET_MAX_LEVELS);
}

size_t place(const pssdet_proposals_problem& p, void* workspace, ProposalsArguments* arguments) {
  arguments->first_chunk[0] = 0;
  for (int level = 0; level < p.pyramid.levels; ++level) {
    arguments->first_chunk[level + 1] = arguments->first_chunk[level] + int32_t(chunks_of(p, level));
  }
  const int64_t of_batch = int64_t(p.batch) * p.pre_nms_top_n;
  Workspace parts(workspace);
  arguments->level_boxes = parts.next<float4>(of_batch * p.pyramid.levels);
  arguments->level_keys = parts.next<uint64_t>(of_batch * p.pyramid.levels);
  arguments->chunk_keys = parts.next<uint64_t>(of_batch * arguments->first_chunk[p.pyramid.levels]);
  return parts.bytes();
}

bool is_valid(const pssdet_multiclass_nms_problem& p) {
  if (!within(p.batch, kMost) || !within(p.classes, kMost) || !within(p.regions, PSSDET_MAX_CANDIDATES))
    return false;
  if (p.box_classes != 1 && p.box_classes != p.classes) return false;
  if (!within(p.max_detections, PSSDET_MAX_CANDIDATES)) return false;
  if (std::isnan(p.score_threshold) || !is_share(p.nms_threshold) || !finite_from_zero(p.pixel_offset))
    return false;
  return p.classes <= kMost / 2 / PSSDET_MAX_CANDIDATES && p.batch <= kMost / p.classes;
}

size_t place(const pssdet_multiclass_nms_problem& p, void* workspace, NmsArguments* arguments) {
  arguments->problem = p;
  const int64_t classes = int64_t(p.batch) * p.classes;
  Workspace parts(workspace);
  arguments->class_keys = parts.next<uint64_t>(classes * p.regions);
  arguments->kept_keys = parts.next<uint64_t>(classes * arguments->of_class());
  return parts.bytes();
}

template <typename Arguments, typename Problem>
pssdet_status workspace_of(const Problem* problem, size_t* bytes) {
  if (!bytes) return PSSDET_BAD_PROBLEM;
  *bytes = 0;
  if (!problem || !is_valid(*problem)) return PSSDET_BAD_PROBLEM;
  Arguments arguments;
  *bytes = place(*problem, nullptr, &arguments);
  return PSSDET_OK;
}

}  // namespace

pssdet_status prepare(const pssdet_proposals_problem* problem, pssdet_dtype type, const pssdet_layout* layouts,
    const void* const* scores, const void* const* deltas, const float* image_size, float* proposals,
    float* proposal_scores, int32_t* count, void* workspace, ProposalsArguments* arguments) {
  if (!problem || !layouts || !scores || !deltas || !is_valid(*problem)) return PSSDET_BAD_PROBLEM;
  if (!known(type)) return PSSDET_BAD_PROBLEM;
  if (!usable({proposals, workspace}, kVector) || !usable({image_size, proposal_scores, count}, sizeof(float)))
    return PSSDET_BAD_PROBLEM;
  const int32_t levels = problem->pyramid.levels, anchors = problem->anchors_per_cell;
  arguments->problem = *problem;
  for (int32_t i = 0; i < levels; ++i) {
    if (!known(layouts[i]) || !known(layouts[levels + i]) || !usable({scores[i], deltas[i]}, bytes_of(type))) {
      return PSSDET_BAD_PROBLEM;
    }
    const int32_t cells = arguments->cells(i);
    arguments->scores[i] = view_of(scores[i], type, layouts[i], anchors, cells);
    arguments->deltas[i] = view_of(deltas[i], type, layouts[levels + i], 4 * anchors, cells);
  }
  arguments->image_size = image_size;
  arguments->proposals = reinterpret_cast<float4*>(proposals);
  arguments->proposal_scores = proposal_scores;
  arguments->count = count;
  place(*problem, workspace, arguments);
  return PSSDET_OK;
}

pssdet_status prepare(const pssdet_multiclass_nms_problem* problem, const float* boxes, const float* scores,
    const int32_t* region_count, float* best_boxes, float* best_scores, int32_t* labels, int32_t* count,
    void* workspace, NmsArguments* arguments) {
  if (!problem || !is_valid(*problem)) return PSSDET_BAD_PROBLEM;
  if (!usable({boxes, best_boxes, workspace}, kVector) ||
      !usable({scores, region_count, best_scores, labels, count}, sizeof(float))) {
    return PSSDET_BAD_PROBLEM;
  }
  place(*problem, workspace, arguments);
  arguments->boxes = reinterpret_cast<const float4*>(boxes);
  arguments->scores = scores;
  arguments->region_count = region_count;
  arguments->best_boxes = reinterpret_cast<float4*>(best_boxes);
  arguments->best_scores = best_scores;
  arguments->labels = labels;
  arguments->count = count;
  return PSSDET_OK;
}

}  // namespace pssdet::detection

namespace pssdet::roi_align {
namespace {

constexpr int32_t kMostSide = 1 << 24;  // float32 knows every whole number up to here

// Whether the maps have sizes, and the indices into one image of each fit 32 bits.
bool good_pyramid(const pssdet_pyramid& pyramid, int32_t channels) {
  if (pyramid.levels < 1 || pyramid.levels > PSSDET_MAX_LEVELS) return false;
  for (int32_t i = 0; i < pyramid.levels; ++i) {
    const int64_t height = pyramid.height[i], width = pyramid.width[i];
    if (height < 1 || width < 1 || pyramid.strides[i] < 1 || height > kMostSide || width > kMostSide)
      return false;
    if (height * width > kMost / ((int64_t(channels) + 7) / 8 * 8)) return false;
  }
  return true;
}

pssdet_status check(const pssdet_roi_align_problem& p) {
  if (p.batch < 0 || p.regions < 0 || p.channels < 1 || !good_pyramid(p.pyramid, p.channels))
    return PSSDET_BAD_PROBLEM;
  if (p.output_size < 1 || p.output_size > PSSDET_MAX_OUTPUT_SIZE) return PSSDET_BAD_PROBLEM;
  if (p.sampling_ratio < 0 || p.sampling_ratio > PSSDET_MAX_SAMPLING_RATIO) return PSSDET_BAD_PROBLEM;
  if (!(p.canonical_size > 0) || !std::isfinite(p.canonical_size)) return PSSDET_BAD_PROBLEM;
  if (!finite_from_zero(p.pixel_offset)) return PSSDET_BAD_PROBLEM;
  // Powers of two of float32.
  if (std::abs(int64_t(p.min_level) - p.canonical_level) > 100) return PSSDET_BAD_PROBLEM;
  const int64_t parts = (int64_t(p.channels) + kRoiChannels - 1) / kRoiChannels,
                regions = int64_t(p.batch) * p.regions;
  return regions > kMost / parts ? PSSDET_BAD_PROBLEM : PSSDET_OK;
}

// Without a region only the problem is set.
pssdet_status prepare(const pssdet_roi_align_problem& problem, pssdet_dtype type, pssdet_layout layout,
    const void* const* maps, const float* rois, void* features, RoiAlignArguments* arguments) {
  if (check(problem) != PSSDET_OK) return PSSDET_BAD_PROBLEM;
  if (type != PSSDET_F16 && !(type == PSSDET_F32 && layout == PSSDET_NCHW)) return PSSDET_BAD_PROBLEM;
  if (layout != PSSDET_NCHW && layout != PSSDET_NHWC) return PSSDET_BAD_PROBLEM;
  arguments->problem = problem;
  if (problem.batch == 0 || problem.regions == 0) return PSSDET_OK;  // empty tensors may have no memory
  if (!maps || !usable(rois, sizeof(float)) || !usable(features, bytes_of(type))) return PSSDET_BAD_PROBLEM;
  arguments->rois = rois;
  arguments->features = features;
  for (int32_t i = 0; i < problem.pyramid.levels; ++i) {
    if (!usable(maps[i], alignment_of(type, layout))) return PSSDET_BAD_PROBLEM;
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

pssdet_status pssdet_proposals_workspace(const pssdet_proposals_problem* problem, size_t* bytes) {
  return pssdet::detection::workspace_of<pssdet::detection::ProposalsArguments>(problem, bytes);
}

pssdet_status pssdet_multiclass_nms_workspace(const pssdet_multiclass_nms_problem* problem, size_t* bytes) {
  return pssdet::detection::workspace_of<pssdet::detection::NmsArguments>(problem, bytes);
}

pssdet_status pssdet_proposals_run(const pssdet_proposals_problem* problem, pssdet_dtype type,
    const pssdet_layout* layouts, const void* const* scores, const void* const* deltas, const float* image_size,
    float* proposals, float* proposal_scores, int32_t* count, void* workspace, void* stream) {
  using namespace pssdet::detection;
  ProposalsArguments arguments;
  const pssdet_status status = prepare(problem, type, layouts, scores, deltas, image_size, proposals,
      proposal_scores, count, workspace, &arguments);
  if (status != PSSDET_OK) return status;
  return pssdet::launch_in_turn<BestOfChunk, ProposalsOfLevel, ProposalsOfImage>(arguments, stream);
}

pssdet_status pssdet_multiclass_nms_run(const pssdet_multiclass_nms_problem* problem, const float* boxes,
    const float* scores, const int32_t* region_count, float* best_boxes, float* best_scores, int32_t* labels,
    int32_t* count, void* workspace, void* stream) {
  using namespace pssdet::detection;
  NmsArguments arguments;
  const pssdet_status status = prepare(
      problem, boxes, scores, region_count, best_boxes, best_scores, labels, count, workspace, &arguments);
  if (status != PSSDET_OK) return status;
  return pssdet::launch_in_turn<BestOfClass, DetectionsOfImage>(arguments, stream);
}

pssdet_status pssdet_roi_align_check(const pssdet_roi_align_problem* problem) {
  return problem ? pssdet::roi_align::check(*problem) : PSSDET_BAD_PROBLEM;
}

pssdet_status pssdet_roi_align_run(const pssdet_roi_align_problem* problem, pssdet_dtype type,
    pssdet_layout layout, const void* const* maps, const float* rois, void* features, void* stream) {
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
