// The C interface's CUDA part of proposals and of class-wise NMS.
#include <cuda_runtime.h>

#include "selection_kernels.cuh"
#include "selection_problem.h"

namespace pssdet::detection {
namespace {

template <typename Step, int Threads, typename Arguments>
void launch(const Arguments& arguments, const Grid& grid, cudaStream_t stream) {
  selection_kernel<Step, Arguments, Threads><<<grid.blocks, Threads, grid.shared_bytes, stream>>>(arguments);
}

pssdet_status finished() { return cudaGetLastError() == cudaSuccess ? PSSDET_OK : PSSDET_CUDA_ERROR; }

}  // namespace
}  // namespace pssdet::detection

extern "C" {

pssdet_status pssdet_proposals_run(const pssdet_proposals_problem* problem, pssdet_dtype type, const pssdet_layout* layouts,
    const void* const* scores, const void* const* deltas, const float* image_size, float* proposals, float* proposal_scores,
    int32_t* count, void* workspace, void* stream) {
  using namespace pssdet::detection;
  ProposalsArguments arguments;
  const pssdet_status status =
      prepare(problem, type, layouts, scores, deltas, image_size, proposals, proposal_scores, count, workspace, &arguments);
  if (status != PSSDET_OK) return status;
  const cudaStream_t on = static_cast<cudaStream_t>(stream);
  launch<BestOfChunk, kChunkThreads>(arguments, chunk_grid(arguments), on);
  launch<ProposalsOfLevel, kLevelThreads>(arguments, level_grid(arguments), on);
  launch<ProposalsOfImage, kJointThreads>(arguments, joint_grid(problem->batch), on);
  return finished();
}

pssdet_status pssdet_multiclass_nms_run(const pssdet_multiclass_nms_problem* problem, const float* boxes, const float* scores,
    const int32_t* region_count, float* best_boxes, float* best_scores, int32_t* labels, int32_t* count, void* workspace,
    void* stream) {
  using namespace pssdet::detection;
  NmsArguments arguments;
  const pssdet_status status =
      prepare(problem, boxes, scores, region_count, best_boxes, best_scores, labels, count, workspace, &arguments);
  if (status != PSSDET_OK) return status;
  const cudaStream_t on = static_cast<cudaStream_t>(stream);
  launch<BestOfClass, kClassThreads>(arguments, class_grid(arguments), on);
  launch<DetectionsOfImage, kJointThreads>(arguments, joint_grid(problem->batch), on);
  return finished();
}

}  // extern "C"
