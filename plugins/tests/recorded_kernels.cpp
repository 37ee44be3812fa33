#include "recorded_kernels.h"

#include <algorithm>

namespace pssdet::test {

Recorded& recorded() {
  static Recorded all;
  return all;
}

namespace {

pssdet_status note(void* workspace, void* stream) {
  ++recorded().calls;
  recorded().workspace = workspace;
  recorded().stream = stream;
  return recorded().answer;
}

}  // namespace

}  // namespace pssdet::test

using pssdet::test::recorded;

extern "C" {

int32_t __wrap_pssdet_dcnv2_tile_count(const pssdet_dcnv2_problem*, const pssdet_dcnv2_format* format) {
  return format->data_type == PSSDET_F16 && format->data_layout == PSSDET_NHWC ? pssdet::test::kTiles : 0;
}

pssdet_status __wrap_pssdet_dcnv2_run(const pssdet_dcnv2_problem* problem, const pssdet_dcnv2_format* format,
    const void* x, const void* offset, const void* mask, const void* weight, const float* bias, void* y,
    int32_t tile, void* stream) {
  recorded().deform_conv = {*problem, *format, x, offset, mask, weight, bias, y, tile};
  return pssdet::test::note(nullptr, stream);
}

pssdet_status __wrap_pssdet_proposals_run(const pssdet_proposals_problem* problem, pssdet_dtype type,
    const pssdet_layout* layouts, const void* const* scores, const void* const* deltas, const float* image_size,
    float* proposals, float* proposal_scores, int32_t* count, void* workspace, void* stream) {
  pssdet::test::ProposalsCall call{*problem, type, {}, {}, {}, image_size, proposals, proposal_scores, count};
  const int32_t levels = problem->pyramid.levels;
  std::copy(layouts, layouts + 2 * levels, call.layouts);
  std::copy(scores, scores + levels, call.scores);
  std::copy(deltas, deltas + levels, call.deltas);
  recorded().proposals = call;
  return pssdet::test::note(workspace, stream);
}

pssdet_status __wrap_pssdet_roi_align_run(const pssdet_roi_align_problem* problem, pssdet_dtype type,
    pssdet_layout layout, const void* const* maps, const float* rois, void* features, void* stream) {
  pssdet::test::RoiAlignCall call{*problem, type, layout, {}, rois, features};
  std::copy(maps, maps + problem->pyramid.levels, call.maps);
  recorded().roi_align = call;
  return pssdet::test::note(nullptr, stream);
}

pssdet_status __wrap_pssdet_multiclass_nms_run(const pssdet_multiclass_nms_problem* problem, const float* boxes,
    const float* scores, const int32_t* region_count, float* best_boxes, float* best_scores, int32_t* labels,
    int32_t* count, void* workspace, void* stream) {
  recorded().nms = {*problem, boxes, scores, region_count, best_boxes, best_scores, labels, count};
  return pssdet::test::note(workspace, stream);
}

}  // extern "C"
