// The C interface of proposals: what it checks and works out, and the launches.
#include "../device/validation.h"
#include "../device/workspace.h"
#include "proposals.cuh"

namespace pssdet::detection {
namespace {

int64_t chunks_of(const pssdet_proposals_problem& p, int level) {
  const int64_t anchors = int64_t(p.pyramid.height[level]) * p.pyramid.width[level] * p.anchors_per_cell;
  return (anchors + kChunk - 1) / kChunk;
}

bool is_valid_level(const pssdet_proposals_problem& p, int level) {
  const pssdet_pyramid& of = p.pyramid;
  if (!within(of.height[level], kMost) || !within(of.width[level], kMost) || !within(of.strides[level], kMost)) return false;
  // Deltas are counted by channel and cell, which leaves room for the last chunk too; corners by pixel.
  return int64_t(of.height[level]) * of.width[level] <= kMost / 4 / (PSSDET_MAX_ANCHORS + 8) &&
      of.height[level] <= kMost / of.strides[level] && of.width[level] <= kMost / of.strides[level];
}

bool is_valid(const pssdet_proposals_problem& p) {
  if (!within(p.batch, kMost) || !within(p.pyramid.levels, PSSDET_MAX_LEVELS)) return false;
  if (!within(p.anchors_per_cell, PSSDET_MAX_ANCHORS)) return false;
  if (!within(p.pre_nms_top_n, PSSDET_MAX_CANDIDATES) || !within(p.post_nms_top_n, PSSDET_MAX_CANDIDATES)) return false;
  if (!is_share(p.nms_threshold) || !std::isfinite(p.min_size) || !finite_from_zero(p.pixel_offset)) return false;
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

}  // namespace

pssdet_status prepare(const pssdet_proposals_problem* problem, pssdet_dtype type, const pssdet_layout* layouts,
    const void* const* scores, const void* const* deltas, const float* image_size, float* proposals, float* proposal_scores,
    int32_t* count, void* workspace, ProposalsArguments* arguments) {
  if (!problem || !layouts || !scores || !deltas || !is_valid(*problem)) return PSSDET_BAD_PROBLEM;
  if (!known(type)) return PSSDET_BAD_PROBLEM;
  if (!usable({image_size, proposals, proposal_scores, count, workspace})) return PSSDET_BAD_PROBLEM;
  const int32_t levels = problem->pyramid.levels, anchors = problem->anchors_per_cell;
  arguments->problem = *problem;
  for (int32_t i = 0; i < levels; ++i) {
    if (!known(layouts[i]) || !known(layouts[levels + i]) || !usable({scores[i], deltas[i]})) return PSSDET_BAD_PROBLEM;
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

}  // namespace pssdet::detection

extern "C" {

pssdet_status pssdet_proposals_workspace(const pssdet_proposals_problem* problem, size_t* bytes) {
  using namespace pssdet::detection;
  if (!bytes) return PSSDET_BAD_PROBLEM;
  *bytes = 0;
  if (!problem || !is_valid(*problem)) return PSSDET_BAD_PROBLEM;
  ProposalsArguments arguments;
  *bytes = place(*problem, nullptr, &arguments);
  return PSSDET_OK;
}

pssdet_status pssdet_proposals_run(const pssdet_proposals_problem* problem, pssdet_dtype type, const pssdet_layout* layouts,
    const void* const* scores, const void* const* deltas, const float* image_size, float* proposals, float* proposal_scores,
    int32_t* count, void* workspace, void* stream) {
  using namespace pssdet::detection;
  ProposalsArguments arguments;
  const pssdet_status status =
      prepare(problem, type, layouts, scores, deltas, image_size, proposals, proposal_scores, count, workspace, &arguments);
  if (status != PSSDET_OK) return status;
  return pssdet::launch_in_turn<BestOfChunk, ProposalsOfLevel, ProposalsOfImage>(arguments, stream);
}

}  // extern "C"
