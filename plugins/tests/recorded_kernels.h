// The kernels' entry points, replaced (-Wl,--wrap, see recorded_kernels.cpp) by functions that write their
// arguments down: the plugins are tested with neither a GPU nor a build with CUDA.
#pragma once

#include <cstdint>

#include "../detection/detection.h"

namespace pssdet::test {

struct DeformConvCall {
  pssdet_dcnv2_problem problem;
  pssdet_dcnv2_format format;
  const void *x, *offset, *mask, *weight, *bias;
  void* y;
  int32_t tile;
};

struct ProposalsCall {
  pssdet_proposals_problem problem;
  pssdet_dtype type;
  pssdet_layout layouts[2 * PSSDET_MAX_LEVELS];
  const void *scores[PSSDET_MAX_LEVELS], *deltas[PSSDET_MAX_LEVELS], *image_size;
  void *proposals, *proposal_scores, *count;
};

struct RoiAlignCall {
  pssdet_roi_align_problem problem;
  pssdet_dtype type;
  pssdet_layout layout;
  const void *maps[PSSDET_MAX_LEVELS], *rois;
  void* features;
};

struct MulticlassNmsCall {
  pssdet_multiclass_nms_problem problem;
  const void *boxes, *scores, *region_count;
  void *best_boxes, *best_scores, *labels, *count;
};

struct Recorded {
  int calls = 0;
  pssdet_status answer = PSSDET_OK;
  void *workspace = nullptr, *stream = nullptr;  // of the last call that has them
  DeformConvCall deform_conv{};
  ProposalsCall proposals{};
  RoiAlignCall roi_align{};
  MulticlassNmsCall nms{};
};

// The DCN kernel says that it has this many tiles for half channels-last, and none for anything else.
constexpr int32_t kTiles = 3;

Recorded& recorded();

// An address that nobody reads.
inline void* address(int number) { return reinterpret_cast<void*>(intptr_t(number) * 4096); }

}  // namespace pssdet::test
