// The C interface of class-wise NMS: what it checks and works out, and the launches.
#include "multiclass_nms.cuh"

#include "../device/validation.h"
#include "../device/workspace.h"

namespace pssdet::detection {
namespace {

bool is_valid(const pssdet_multiclass_nms_problem& p) {
  if (!within(p.batch, kMost) || !within(p.classes, kMost) || !within(p.regions, PSSDET_MAX_CANDIDATES)) return false;
  if (p.box_classes != 1 && p.box_classes != p.classes) return false;
  if (!within(p.max_detections, PSSDET_MAX_CANDIDATES)) return false;
  if (std::isnan(p.score_threshold) || !is_share(p.nms_threshold) || !finite_from_zero(p.pixel_offset)) return false;
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

}  // namespace

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

pssdet_status pssdet_multiclass_nms_workspace(const pssdet_multiclass_nms_problem* problem, size_t* bytes) {
  using namespace pssdet::detection;
  if (!bytes) return PSSDET_BAD_PROBLEM;
  *bytes = 0;
  if (!problem || !is_valid(*problem)) return PSSDET_BAD_PROBLEM;
  NmsArguments arguments;
  *bytes = place(*problem, nullptr, &arguments);
  return PSSDET_OK;
}

pssdet_status pssdet_multiclass_nms_run(const pssdet_multiclass_nms_problem* problem, const float* boxes, const float* scores,
    const int32_t* region_count, float* best_boxes, float* best_scores, int32_t* labels, int32_t* count, void* workspace,
    void* stream) {
  using namespace pssdet::detection;
  NmsArguments arguments;
  const pssdet_status status =
      prepare(problem, boxes, scores, region_count, best_boxes, best_scores, labels, count, workspace, &arguments);
  if (status != PSSDET_OK) return status;
  return pssdet::launch_in_turn<BestOfClass, DetectionsOfImage>(arguments, stream);
}

}  // extern "C"
