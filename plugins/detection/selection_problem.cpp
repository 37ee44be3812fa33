#include "selection_problem.h"

#include <cmath>
#include <initializer_list>
#include <limits>

namespace pssdet::detection {
namespace {

// What the kernels count in 32 bits stays below this.
constexpr int64_t kMost = std::numeric_limits<int32_t>::max();

bool within(int64_t value, int64_t most) { return value >= 1 && value <= most; }
bool finite_from_zero(float value) { return std::isfinite(value) && value >= 0; }
bool is_share(float value) { return value >= 0 && value <= 1; }

bool usable(const void* pointer) { return pointer && reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }
bool usable(std::initializer_list<const void*> pointers) {
  for (const void* pointer : pointers) {
    if (!usable(pointer)) return false;
  }
  return true;
}

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

// The parts of a workspace, each aligned to 16 bytes.
class Parts {
 public:
  explicit Parts(void* start) : start_(static_cast<unsigned char*>(start)) {}

  template <typename T>
  T* next(int64_t count) {
    T* part = start_ ? reinterpret_cast<T*>(start_ + bytes_) : nullptr;
    bytes_ += (size_t(count) * sizeof(T) + 15) / 16 * 16;
    return part;
  }
  size_t bytes() const { return bytes_; }

 private:
  unsigned char* start_;
  size_t bytes_ = 0;
};

size_t place(const pssdet_proposals_problem& p, void* workspace, ProposalsArguments* arguments) {
  arguments->first_chunk[0] = 0;
  for (int level = 0; level < p.pyramid.levels; ++level) {
    arguments->first_chunk[level + 1] = arguments->first_chunk[level] + int32_t(chunks_of(p, level));
  }
  const int64_t of_batch = int64_t(p.batch) * p.pre_nms_top_n;
  Parts parts(workspace);
  arguments->level_boxes = parts.next<float4>(of_batch * p.pyramid.levels);
  arguments->level_keys = parts.next<uint64_t>(of_batch * p.pyramid.levels);
  arguments->chunk_keys = parts.next<uint64_t>(of_batch * arguments->first_chunk[p.pyramid.levels]);
  return parts.bytes();
}

size_t place(const pssdet_multiclass_nms_problem& p, void* workspace, NmsArguments* arguments) {
  arguments->problem = p;
  const int64_t classes = int64_t(p.batch) * p.classes;
  Parts parts(workspace);
  arguments->class_keys = parts.next<uint64_t>(classes * p.regions);
  arguments->kept_keys = parts.next<uint64_t>(classes * arguments->of_class());
  return parts.bytes();
}

Map map_of(const void* data, bool is_half, pssdet_layout layout, int32_t channels, int32_t cells) {
  if (layout == PSSDET_NCHW) return {data, int64_t(channels) * cells, cells, 1, is_half};
  const int32_t pitch = ceil_div(channels, 8) * 8;
  return {data, int64_t(pitch) * cells, 1, pitch, is_half};
}

bool known(pssdet_layout layout) { return layout == PSSDET_NCHW || layout == PSSDET_NHWC; }

}  // namespace

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

bool is_valid(const pssdet_multiclass_nms_problem& p) {
  if (!within(p.batch, kMost) || !within(p.classes, kMost) || !within(p.regions, PSSDET_MAX_CANDIDATES)) return false;
  if (p.box_classes != 1 && p.box_classes != p.classes) return false;
  if (!within(p.max_detections, PSSDET_MAX_CANDIDATES)) return false;
  if (std::isnan(p.score_threshold) || !is_share(p.nms_threshold) || !finite_from_zero(p.pixel_offset)) return false;
  return p.classes <= kMost / 2 / PSSDET_MAX_CANDIDATES && p.batch <= kMost / p.classes;
}

pssdet_status prepare(const pssdet_proposals_problem* problem, pssdet_dtype type, const pssdet_layout* layouts,
    const void* const* scores, const void* const* deltas, const float* image_size, float* proposals, float* proposal_scores,
    int32_t* count, void* workspace, ProposalsArguments* arguments) {
  if (!problem || !layouts || !scores || !deltas || !is_valid(*problem)) return PSSDET_BAD_PROBLEM;
  if (type != PSSDET_F32 && type != PSSDET_F16) return PSSDET_BAD_PROBLEM;
  if (!usable({image_size, proposals, proposal_scores, count, workspace})) return PSSDET_BAD_PROBLEM;
  const int32_t levels = problem->pyramid.levels, anchors = problem->anchors_per_cell;
  arguments->problem = *problem;
  for (int32_t i = 0; i < levels; ++i) {
    if (!known(layouts[i]) || !known(layouts[levels + i]) || !usable({scores[i], deltas[i]})) return PSSDET_BAD_PROBLEM;
    const int32_t cells = arguments->cells(i);
    arguments->scores[i] = map_of(scores[i], type == PSSDET_F16, layouts[i], anchors, cells);
    arguments->deltas[i] = map_of(deltas[i], type == PSSDET_F16, layouts[levels + i], 4 * anchors, cells);
  }
  arguments->image_size = image_size;
  arguments->proposals = reinterpret_cast<float4*>(proposals);
  arguments->proposal_scores = proposal_scores;
  arguments->count = count;
  place(*problem, workspace, arguments);
  return PSSDET_OK;
}

pssdet_status prepare(const pssdet_multiclass_nms_problem* problem, const float* boxes, const float* scores,
    const int32_t* region_count, float* best_boxes, float* best_scores, int32_t* labels, int32_t* count, void* workspace,
    NmsArguments* arguments) {
  if (!problem || !is_valid(*problem)) return PSSDET_BAD_PROBLEM;
  if (!usable({boxes, scores, region_count, best_boxes, best_scores, labels, count, workspace})) return PSSDET_BAD_PROBLEM;
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

pssdet_status pssdet_multiclass_nms_workspace(const pssdet_multiclass_nms_problem* problem, size_t* bytes) {
  using namespace pssdet::detection;
  if (!bytes) return PSSDET_BAD_PROBLEM;
  *bytes = 0;
  if (!problem || !is_valid(*problem)) return PSSDET_BAD_PROBLEM;
  NmsArguments arguments;
  *bytes = place(*problem, nullptr, &arguments);
  return PSSDET_OK;
}

}  // extern "C"
