// What the kernels of proposals and of class-wise NMS are told, and how they are launched.
#pragma once

#include "block_nms.cuh"
#include "block_sort.cuh"
#include "detection.h"

namespace pssdet::detection {

// Anchors that one block of the first kernel looks through: their scores fill the shared memory that needs no asking.
constexpr int kChunk = 8192;
// Of the blocks; the kernels themselves work with any number of whole warps.
constexpr int kChunkThreads = 512, kLevelThreads = 1024, kClassThreads = 256, kJointThreads = 512;

// What a block of NMS has in shared memory: boxes, and behind them the keys, which the search of the candidates and NMS itself use
// for what they need while there are no boxes yet, or no keys any more.
struct BoxesAndKeys {
  Box* boxes;
  uint64_t* keys;
  SelectShared* select;
  NmsShared nms;

  static PSSDET_HOST_DEVICE constexpr int capacity(int candidates) {
    const int least = int(sizeof(SelectShared) / sizeof(Box)) + 1;
    return power_of_two_from(candidates > least ? candidates : least);
  }
  static PSSDET_HOST_DEVICE constexpr int bytes(int candidates) {
    return capacity(candidates) * int(sizeof(Box) + sizeof(uint64_t));
  }

  PSSDET_DEVICE BoxesAndKeys(unsigned char* memory, int candidates) {
    const int room = capacity(candidates);
    boxes = reinterpret_cast<Box*>(memory);
    keys = reinterpret_cast<uint64_t*>(boxes + room);
    select = reinterpret_cast<SelectShared*>(memory);
    nms.boxes = boxes;
    nms.earlier = reinterpret_cast<uint32_t*>(keys);
    nms.removed = nms.earlier + room;
    nms.kept = nms.removed + room / 32;
  }
};
static_assert(BoxesAndKeys::bytes(PSSDET_MAX_CANDIDATES) <= 48 * 1024, "needs cudaFuncSetAttribute");

// The joint selection's shared memory.
struct JointShared {
  SelectShared select;
  uint64_t keys[PSSDET_MAX_CANDIDATES];
};

// The first kernel's of the proposals.
struct ChunkShared {
  SelectShared select;
  uint32_t orders[kChunk];
};

// A feature map: element (n, channel, cell) lies at n * image + channel * plane + cell * step.
struct Map {
  const void* data;
  int64_t image;
  int32_t plane, step;
  bool is_half;

  PSSDET_DEVICE float at(int32_t n, int32_t channel, int32_t cell) const {
    const int64_t i = n * image + int64_t(channel) * plane + int64_t(cell) * step;
    return is_half ? __half2float(static_cast<const half*>(data)[i]) : static_cast<const float*>(data)[i];
  }
};

struct ProposalsArguments {
  pssdet_proposals_problem problem;
  Map scores[PSSDET_MAX_LEVELS], deltas[PSSDET_MAX_LEVELS];
  int32_t first_chunk[PSSDET_MAX_LEVELS + 1];  // of the image's
  const float* image_size;
  float4* proposals;
  float* proposal_scores;
  int32_t* count;
  // Workspace: what each level's NMS was given and what it kept, [batch, levels, pre_nms_top_n], and each chunk's best anchors,
  // [batch, chunks, pre_nms_top_n].
  float4* level_boxes;
  uint64_t* level_keys;
  uint64_t* chunk_keys;

  PSSDET_HOST_DEVICE int32_t cells(int level) const { return problem.pyramid.height[level] * problem.pyramid.width[level]; }
  PSSDET_HOST_DEVICE int32_t anchors(int level) const { return cells(level) * problem.anchors_per_cell; }
  PSSDET_HOST_DEVICE int32_t chunks() const { return first_chunk[problem.pyramid.levels]; }
};

struct NmsArguments {
  pssdet_multiclass_nms_problem problem;
  const float4* boxes;
  const float* scores;
  const int32_t* region_count;
  float4* best_boxes;
  float* best_scores;
  int32_t *labels, *count;
  // Workspace: each class's candidates in order, [batch, classes, regions], and those it kept, [batch, classes, of_class()].
  uint64_t* class_keys;
  uint64_t* kept_keys;

  PSSDET_HOST_DEVICE int32_t of_class() const {
    return problem.regions < problem.max_detections ? problem.regions : problem.max_detections;
  }
};

struct Grid {
  unsigned blocks, threads;
  int shared_bytes;
};

inline Grid chunk_grid(const ProposalsArguments& arguments) {
  return {unsigned(arguments.problem.batch * arguments.chunks()), kChunkThreads, int(sizeof(ChunkShared))};
}
inline Grid level_grid(const ProposalsArguments& arguments) {
  const pssdet_proposals_problem& problem = arguments.problem;
  return {unsigned(problem.batch * problem.pyramid.levels), kLevelThreads, BoxesAndKeys::bytes(problem.pre_nms_top_n)};
}
inline Grid class_grid(const NmsArguments& arguments) {
  const pssdet_multiclass_nms_problem& problem = arguments.problem;
  return {unsigned(problem.batch * problem.classes), kClassThreads, BoxesAndKeys::bytes(problem.regions)};
}
inline Grid joint_grid(int32_t batch) { return {unsigned(batch), kJointThreads, int(sizeof(JointShared))}; }

}  // namespace pssdet::detection
