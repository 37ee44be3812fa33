// pssdet_proposals_run and pssdet_multiclass_nms_run on a CPU, with pointers to its memory: what tests call from Python.
#include "emulated_selection.h"
#include "selection_problem.h"

namespace {

// Fewer than on a GPU: the emulator's time is mostly that of changing between threads.
constexpr unsigned kThreads = 64;

}  // namespace

extern "C" {

PSSDET_API pssdet_status pssdet_proposals_emulated(const pssdet_proposals_problem* problem, pssdet_dtype type,
    const pssdet_layout* layouts, const void* const* scores, const void* const* deltas, const float* image_size, float* proposals,
    float* proposal_scores, int32_t* count, void* workspace, void*) {
  using namespace pssdet::detection;
  ProposalsArguments arguments;
  const pssdet_status status =
      prepare(problem, type, layouts, scores, deltas, image_size, proposals, proposal_scores, count, workspace, &arguments);
  if (status == PSSDET_OK) emulate(arguments, kThreads, false);
  return status;
}

PSSDET_API pssdet_status pssdet_multiclass_nms_emulated(const pssdet_multiclass_nms_problem* problem, const float* boxes,
    const float* scores, const int32_t* region_count, float* best_boxes, float* best_scores, int32_t* labels, int32_t* count,
    void* workspace, void*) {
  using namespace pssdet::detection;
  NmsArguments arguments;
  const pssdet_status status =
      prepare(problem, boxes, scores, region_count, best_boxes, best_scores, labels, count, workspace, &arguments);
  if (status == PSSDET_OK) emulate(arguments, kThreads, false);
  return status;
}

}  // extern "C"
