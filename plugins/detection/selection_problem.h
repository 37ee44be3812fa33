// What the C functions of proposals and of class-wise NMS check and work out before anything is launched.
#pragma once

#include "selection_arguments.h"

namespace pssdet::detection {

// Whether the sizes fit each other, the limits of detection.h and the kernels' 32-bit indices.
bool is_valid(const pssdet_proposals_problem& problem);
bool is_valid(const pssdet_multiclass_nms_problem& problem);

// The arguments of the launches; PSSDET_BAD_PROBLEM if anything contradicts anything else.
pssdet_status prepare(const pssdet_proposals_problem* problem, pssdet_dtype type, const pssdet_layout* layouts,
    const void* const* scores, const void* const* deltas, const float* image_size, float* proposals, float* proposal_scores,
    int32_t* count, void* workspace, ProposalsArguments* arguments);
pssdet_status prepare(const pssdet_multiclass_nms_problem* problem, const float* boxes, const float* scores,
    const int32_t* region_count, float* best_boxes, float* best_scores, int32_t* labels, int32_t* count, void* workspace,
    NmsArguments* arguments);

}  // namespace pssdet::detection
