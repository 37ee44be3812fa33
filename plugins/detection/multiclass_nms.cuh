// The ONNX function pssdet.MulticlassNms in two kernels: NMS of each class, and the best of an image's classes.
#pragma once

#include "../device/launch.h"
#include "block_nms.cuh"

namespace pssdet::detection {

struct NmsArguments {
  pssdet_multiclass_nms_problem problem;
  const float4* boxes;
  const float* scores;
  const int32_t* region_count;
  float4* best_boxes;
  float* best_scores;
  int32_t *labels, *count;
  // Workspace: each class's candidates in order, [batch, classes, regions], and those it kept,
  // [batch, classes, of_class()].
  uint64_t* class_keys;
  uint64_t* kept_keys;

  PSSDET_HOST_DEVICE int32_t of_class() const {
    return problem.regions < problem.max_detections ? problem.regions : problem.max_detections;
  }
};

pssdet_status prepare(const pssdet_multiclass_nms_problem* problem, const float* boxes, const float* scores,
    const int32_t* region_count, float* best_boxes, float* best_scores, int32_t* labels, int32_t* count,
    void* workspace, NmsArguments* arguments);

class BestOfClass : public LaunchBounds<256, 4, 32>,
                    public DynamicShared<BoxesAndKeys::bytes(PSSDET_MAX_CANDIDATES)> {
 public:
  using Arguments = NmsArguments;
  static int shared_bytes(const Arguments& arguments) { return BoxesAndKeys::bytes(arguments.problem.regions); }
  static int64_t blocks(const Arguments& arguments) {
    return int64_t(arguments.problem.batch) * arguments.problem.classes;
  }

  PSSDET_DEVICE BestOfClass(const NmsArguments& arguments, unsigned char* shared)
      : arguments_(arguments), problem_(arguments.problem), shared_(shared, arguments.problem.regions),
        image_(int(blockIdx.x) / arguments.problem.classes),
        class_(int(blockIdx.x) - image_ * arguments.problem.classes),
        box_class_(arguments.problem.box_classes == 1 ? 0 : class_) {}

  PSSDET_DEVICE void run() const {
    const int count = find_candidates();
    sort_falling(shared_.keys, count);
    uint64_t* class_keys = arguments_.class_keys + int64_t(blockIdx.x) * problem_.regions;
    for (int rank = int(threadIdx.x); rank < count; rank += int(blockDim.x)) {
      const uint64_t key = shared_.keys[rank];
      const int32_t region = int32_t(index_in(key));
      shared_.boxes[rank] = as_seen(box(region), problem_.pixel_offset);
      class_keys[rank] = key_of(order_in(key), uint32_t(class_ * problem_.regions + region));
    }
    const int most = arguments_.of_class();
    const int kept = suppress(shared_.nms, count, most, problem_.nms_threshold);
    write_kept(class_keys, count, arguments_.kept_keys + int64_t(blockIdx.x) * most, kept, most);
  }

 private:
  PSSDET_DEVICE int find_candidates() const {
    uint32_t* found = &shared_.select->taken;
    if (threadIdx.x == 0) *found = 0;
    __syncthreads();
    const int32_t existing = arguments_.region_count[image_];
    const float* scores = arguments_.scores + int64_t(image_) * problem_.regions * problem_.classes + class_;
    for (int first = 0; first < problem_.regions; first += int(blockDim.x)) {
      const int region = first + int(threadIdx.x);
      // Past the count a score is 0, as in the ONNX function: below any threshold that makes sense.
      float score = 0.0f;
      if (region < problem_.regions && region < existing) score = scores[int64_t(region) * problem_.classes];
      const bool wants = region < problem_.regions && score > problem_.score_threshold && score > kAnyScore;
      const uint32_t place = place_for(wants, found);
      if (wants) shared_.keys[place] = key_of(order_of(score), uint32_t(region));
    }
    __syncthreads();
    return int(*found);
  }

  PSSDET_DEVICE Box box(int32_t region) const {
    return arguments_.boxes[(int64_t(image_) * problem_.regions + region) * problem_.box_classes + box_class_];
  }

  PSSDET_DEVICE void write_kept(const uint64_t* from, int count, uint64_t* to, int kept, int most) const {
    for (int rank = int(threadIdx.x); rank < count; rank += int(blockDim.x)) {
      const int group = rank / 32;
      const uint32_t chosen = shared_.nms.kept[group];
      if (!(chosen >> rank % 32 & 1)) continue;
      int place = __popc(chosen & ((1u << rank % 32) - 1));
      for (int other = 0; other < group; ++other) place += __popc(shared_.nms.kept[other]);
      to[place] = from[rank];
    }
    for (int i = kept + int(threadIdx.x); i < most; i += int(blockDim.x)) to[i] = kNoKey;
  }

  const NmsArguments& arguments_;
  const pssdet_multiclass_nms_problem& problem_;
  const BoxesAndKeys shared_;
  const int image_, class_, box_class_;
};

class DetectionsOfImage : public LaunchBounds<512, 1, 32>, public DynamicShared<int(sizeof(JointShared))> {
 public:
  using Arguments = NmsArguments;
  static int64_t blocks(const Arguments& arguments) { return arguments.problem.batch; }

  PSSDET_DEVICE DetectionsOfImage(const NmsArguments& arguments, unsigned char* shared)
      : arguments_(arguments), shared_(*reinterpret_cast<JointShared*>(shared)) {}

  PSSDET_DEVICE void run() const {
    const pssdet_multiclass_nms_problem& problem = arguments_.problem;
    const int image = int(blockIdx.x), most = problem.max_detections,
              candidates = problem.classes * arguments_.of_class();
    const StoredKeys keys = {arguments_.kept_keys + int64_t(image) * candidates};
    const int count = select_largest(
        shared_.select, keys, candidates, most, [&](int place, uint64_t key) { shared_.keys[place] = key; });
    sort_falling(shared_.keys, count);
    for (int i = int(threadIdx.x); i < most; i += int(blockDim.x)) {
      const int64_t to = int64_t(image) * most + i;
      if (i < count) {
        write(image, shared_.keys[i], to);
      } else {
        arguments_.best_boxes[to] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        arguments_.best_scores[to] = 0.0f;
        arguments_.labels[to] = -1;
      }
    }
    if (threadIdx.x == 0) arguments_.count[image] = count;
  }

 private:
  PSSDET_DEVICE void write(int image, uint64_t key, int64_t to) const {
    const pssdet_multiclass_nms_problem& problem = arguments_.problem;
    const int32_t label = int32_t(index_in(key)) / problem.regions,
                  region = int32_t(index_in(key)) - label * problem.regions;
    const int32_t box_class = problem.box_classes == 1 ? 0 : label;
    const int64_t box = (int64_t(image) * problem.regions + region) * problem.box_classes + box_class;
    arguments_.best_boxes[to] = arguments_.boxes[box];
    arguments_.best_scores[to] = score_of(order_in(key));
    arguments_.labels[to] = label;
  }

  const NmsArguments& arguments_;
  JointShared& shared_;
};

}  // namespace pssdet::detection
