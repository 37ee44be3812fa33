// The detection part of a two-stage detector: proposals, region features and class-wise NMS, in plain C without
// TensorRT types. What they compute is what the ONNX functions pssdet.GenerateProposals,
// pssdet.MultilevelRoiAlign and pssdet.MulticlassNms compute.
//
// Every `run` launches for the whole batch on `stream` (a cudaStream_t): no allocation, no synchronisation, no
// state; it can be captured into a CUDA graph. Results do not depend on the order in which threads run: equal
// scores keep the order of their indices. Pointers are to device memory, each aligned to a value
// of its type, but boxes, proposals, workspaces and RoIAlign's NHWC maps to 16 bytes. Every function may be
// called from any thread.
#ifndef PSSDET_DETECTION_H_
#define PSSDET_DETECTION_H_

#include "../dcnv2/dcnv2.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PSSDET_MAX_LEVELS 8
#define PSSDET_MAX_ANCHORS 16       // of one cell
#define PSSDET_MAX_CANDIDATES 2048  // pre_nms_top_n, post_nms_top_n, regions of an image in NMS, max_detections
#define PSSDET_MAX_OUTPUT_SIZE 32   // RoIAlign's bins per axis
#define PSSDET_MAX_SAMPLING_RATIO 64

// Feature maps, one per pyramid level: [batch, channels, height[i], width[i]].
typedef struct {
  int32_t levels;
  int32_t height[PSSDET_MAX_LEVELS], width[PSSDET_MAX_LEVELS];
  int32_t strides[PSSDET_MAX_LEVELS];  // pixels of the network's input per cell
} pssdet_pyramid;

typedef struct {
  int32_t batch;
  pssdet_pyramid pyramid;
  int32_t anchors_per_cell;
  float anchors[PSSDET_MAX_LEVELS * PSSDET_MAX_ANCHORS *
      4];                  // [levels, anchors_per_cell, 4], of the cell at the origin
  int32_t pre_nms_top_n;   // candidates of a level
  int32_t post_nms_top_n;  // proposals of an image
  float nms_threshold, min_size;
  float pixel_offset;   // 1 if a box from x = 3 to x = 5 is three pixels wide, 0 if it is two wide
  float clip_multiple;  // boxes are clipped to image_size rounded up to a multiple of it
} pssdet_proposals_problem;

typedef struct {
  int32_t batch, regions, channels;  // regions: of an image
  pssdet_pyramid pyramid;
  int32_t min_level, canonical_level;
  float canonical_size, pixel_offset;
  int32_t output_size;
  int32_t sampling_ratio;  // 0: as many samples per bin and axis as the bin has cells, rounded up
  int32_t aligned;         // 1: regions are shifted by half a cell and have no least size
} pssdet_roi_align_problem;

typedef struct {
  int32_t batch, regions, classes;
  int32_t box_classes;  // 1: the classes share their boxes; else `classes`
  int32_t max_detections;
  float score_threshold, nms_threshold, pixel_offset;
} pssdet_multiclass_nms_problem;

// Bytes of workspace; 0 with PSSDET_BAD_PROBLEM if the sizes contradict each other or pass the limits above.
PSSDET_API pssdet_status pssdet_proposals_workspace(const pssdet_proposals_problem* problem, size_t* bytes);
PSSDET_API pssdet_status pssdet_roi_align_check(const pssdet_roi_align_problem* problem);
PSSDET_API pssdet_status pssdet_multiclass_nms_workspace(
    const pssdet_multiclass_nms_problem* problem, size_t* bytes);

// scores[i]: [batch, anchors_per_cell, h, w], deltas[i]: [batch, 4 * anchors_per_cell, h, w] (dx, dy, dw, dh of
// each anchor), of `type`; layouts: of all scores, then of all deltas. image_size: [batch, 2] (h, w).
// Out: proposals [batch, post_nms_top_n, 4], best first, zero past count; their scores, -inf past count;
// count int32 [batch].
PSSDET_API pssdet_status pssdet_proposals_run(const pssdet_proposals_problem* problem, pssdet_dtype type,
    const pssdet_layout* layouts, const void* const* scores, const void* const* deltas, const float* image_size,
    float* proposals, float* proposal_scores, int32_t* count, void* workspace, void* stream);

// maps[i]: [batch, channels, h, w] of `type`, all in `layout`; rois: [batch, regions, 4] in the input's pixels.
// Out: features [batch * regions, channels, output_size, output_size] of `type`, NCHW. NHWC maps are half.
PSSDET_API pssdet_status pssdet_roi_align_run(const pssdet_roi_align_problem* problem, pssdet_dtype type,
    pssdet_layout layout, const void* const* maps, const float* rois, void* features, void* stream);

// boxes: [batch, regions, box_classes, 4], scores: [batch, regions, classes], region_count: int32 [batch].
// Out: [batch, max_detections, 4], scores [batch, max_detections] falling, labels int32, count int32 [batch];
// past count boxes and scores are 0 and labels -1.
PSSDET_API pssdet_status pssdet_multiclass_nms_run(const pssdet_multiclass_nms_problem* problem,
    const float* boxes, const float* scores, const int32_t* region_count, float* best_boxes, float* best_scores,
    int32_t* labels, int32_t* count, void* workspace, void* stream);

#ifdef __cplusplus
}  // extern "C"
#endif
#endif  // PSSDET_DETECTION_H_
