// The ONNX function pssdet.GenerateProposals in three kernels: the best anchors of a chunk of a level's map;
// decoding and NMS of a level's best; the best of all levels.
#pragma once

#include "../device/launch.h"
#include "block_nms.cuh"

namespace pssdet::detection {

// Anchors for one block of the first kernel: their scores fill the shared memory that needs no opt-in.
constexpr int kChunk = 8192;

struct ChunkShared {
  SelectShared select;
  uint32_t orders[kChunk];
};

struct ProposalsArguments {
  pssdet_proposals_problem problem;
  TensorView scores[PSSDET_MAX_LEVELS], deltas[PSSDET_MAX_LEVELS];
  int32_t first_chunk[PSSDET_MAX_LEVELS + 1];  // of the image's
  const float* image_size;
  float4* proposals;
  float* proposal_scores;
  int32_t* count;
  // Workspace: what each level's NMS was given and what it kept, [batch, levels, pre_nms_top_n], and each
  // chunk's best anchors, [batch, chunks, pre_nms_top_n].
  float4* level_boxes;
  uint64_t* level_keys;
  uint64_t* chunk_keys;

  PSSDET_HOST_DEVICE int32_t cells(int level) const {
    return problem.pyramid.height[level] * problem.pyramid.width[level];
  }
  PSSDET_HOST_DEVICE int32_t anchors(int level) const { return cells(level) * problem.anchors_per_cell; }
  PSSDET_HOST_DEVICE int32_t chunks() const { return first_chunk[problem.pyramid.levels]; }
};

pssdet_status prepare(const pssdet_proposals_problem* problem, pssdet_dtype type, const pssdet_layout* layouts,
    const void* const* scores, const void* const* deltas, const float* image_size, float* proposals,
    float* proposal_scores, int32_t* count, void* workspace, ProposalsArguments* arguments);

class BestOfChunk : public LaunchBounds<512, 2, 32>, public DynamicShared<int(sizeof(ChunkShared))> {
 public:
  using Arguments = ProposalsArguments;
  static int64_t blocks(const Arguments& arguments) {
    return int64_t(arguments.problem.batch) * arguments.chunks();
  }

  // The scores of a chunk: elements of the map in the order of memory, so that threads read side by side.
  struct Keys {
    const uint32_t* orders;
    int32_t first, anchors, cells;
    bool by_channel;

    // An anchor's number counts cells, and in each its anchors.
    PSSDET_DEVICE uint32_t index(int i) const {
      const int32_t element = first + i;
      if (!by_channel) return uint32_t(element);
      const int32_t anchor = element / cells;
      return uint32_t((element - anchor * cells) * anchors + anchor);
    }
    PSSDET_DEVICE uint32_t order(int i) const { return orders[i]; }
    PSSDET_DEVICE uint64_t key(int i) const { return key_of(orders[i], index(i)); }
  };

  PSSDET_DEVICE BestOfChunk(const ProposalsArguments& arguments, unsigned char* shared)
      : arguments_(arguments), shared_(*reinterpret_cast<ChunkShared*>(shared)),
        image_(int(blockIdx.x) / arguments.chunks()) {
    const int chunk = int(blockIdx.x) - image_ * arguments.chunks();
    while (chunk >= arguments.first_chunk[level_ + 1]) ++level_;
    first_ = (chunk - arguments.first_chunk[level_]) * kChunk;
    const int left = arguments.anchors(level_) - first_;
    count_ = left < kChunk ? left : kChunk;
  }

  PSSDET_DEVICE void run() const {
    const TensorView& map = arguments_.scores[level_];
    const int wanted = arguments_.problem.pre_nms_top_n, anchors = arguments_.problem.anchors_per_cell;
    const Keys keys = {shared_.orders, first_, anchors, arguments_.cells(level_), map.strides.step == 1};
    for (int i = int(threadIdx.x); i < count_; i += int(blockDim.x))
      shared_.orders[i] = order(map, keys.by_channel, first_ + i);
    uint64_t* best = arguments_.chunk_keys + int64_t(blockIdx.x) * wanted;
    const int found = select_largest(
        shared_.select, keys, count_, wanted, [&](int place, uint64_t key) { best[place] = key; });
    for (int i = found + int(threadIdx.x); i < wanted; i += int(blockDim.x)) best[i] = kNoKey;
  }

 private:
  PSSDET_DEVICE uint32_t order(const TensorView& map, bool by_channel, int32_t element) const {
    const int32_t inner = by_channel ? arguments_.cells(level_) : arguments_.problem.anchors_per_cell;
    const int32_t outer = element / inner, rest = element - outer * inner;
    const float score = by_channel ? map.at(image_, outer, rest) : map.at(image_, rest, outer);
    return score <= kAnyScore ? kNoScore : order_of(score);
  }

  const ProposalsArguments& arguments_;
  ChunkShared& shared_;
  int image_, level_ = 0, first_, count_;
};

class ProposalsOfLevel : public LaunchBounds<1024, 1, 32>,
                         public DynamicShared<BoxesAndKeys::bytes(PSSDET_MAX_CANDIDATES)> {
 public:
  using Arguments = ProposalsArguments;
  static int shared_bytes(const Arguments& arguments) {
    return BoxesAndKeys::bytes(arguments.problem.pre_nms_top_n);
  }
  static int64_t blocks(const Arguments& arguments) {
    return int64_t(arguments.problem.batch) * arguments.problem.pyramid.levels;
  }

  PSSDET_DEVICE ProposalsOfLevel(const ProposalsArguments& arguments, unsigned char* shared)
      : arguments_(arguments), problem_(arguments.problem), shared_(shared, arguments.problem.pre_nms_top_n),
        image_(int(blockIdx.x) / arguments.problem.pyramid.levels),
        level_(int(blockIdx.x) - image_ * arguments.problem.pyramid.levels) {}

  PSSDET_DEVICE void run() const {
    const int most = problem_.pre_nms_top_n, first = arguments_.first_chunk[level_];
    const StoredKeys keys = {arguments_.chunk_keys + (int64_t(image_) * arguments_.chunks() + first) * most};
    const int count = select_largest(*shared_.select, keys, (arguments_.first_chunk[level_ + 1] - first) * most,
        most, [&](int place, uint64_t key) { shared_.keys[place] = key; });
    sort_falling(shared_.keys, count);
    float4* boxes = arguments_.level_boxes + int64_t(blockIdx.x) * most;
    uint64_t* kept_keys = arguments_.level_keys + int64_t(blockIdx.x) * most;
    for (int rank = int(threadIdx.x); rank < count; rank += int(blockDim.x)) {
      const uint64_t key = shared_.keys[rank];
      const Box box = decoded(index_in(key));
      boxes[rank] = box;
      kept_keys[rank] = key_of(order_in(key), uint32_t(level_ * most + rank));
      shared_.boxes[rank] = as_seen(box, problem_.pixel_offset);
      if (is_nan(score_of(order_in(key))) || !is_large_enough(problem_, box))
        shared_.boxes[rank].x = __uint_as_float(0x7FC00000u);
    }
    suppress(shared_.nms, count, problem_.post_nms_top_n, problem_.nms_threshold);
    for (int rank = int(threadIdx.x); rank < most; rank += int(blockDim.x)) {
      if (rank >= count || !(shared_.nms.kept[rank / 32] >> rank % 32 & 1)) kept_keys[rank] = kNoKey;
    }
  }

 private:
  PSSDET_DEVICE Box decoded(uint32_t index) const {
    const int32_t cell = int32_t(index) / problem_.anchors_per_cell,
                  kind = int32_t(index) - cell * problem_.anchors_per_cell;
    const TensorView& map = arguments_.deltas[level_];
    Single deltas[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) deltas[i] = {map.at(image_, 4 * kind + i, cell)};
    const Single height = {arguments_.image_size[2 * image_]}, width = {arguments_.image_size[2 * image_ + 1]};
    return decoded_anchor(problem_, level_, kind, cell, deltas, height, width);
  }

  const ProposalsArguments& arguments_;
  const pssdet_proposals_problem& problem_;
  const BoxesAndKeys shared_;
  const int image_, level_;
};

class ProposalsOfImage : public LaunchBounds<512, 1, 32>, public DynamicShared<int(sizeof(JointShared))> {
 public:
  using Arguments = ProposalsArguments;
  static int64_t blocks(const Arguments& arguments) { return arguments.problem.batch; }

  PSSDET_DEVICE ProposalsOfImage(const ProposalsArguments& arguments, unsigned char* shared)
      : arguments_(arguments), shared_(*reinterpret_cast<JointShared*>(shared)) {}

  PSSDET_DEVICE void run() const {
    const int image = int(blockIdx.x), most = arguments_.problem.post_nms_top_n;
    const int candidates = arguments_.problem.pyramid.levels * arguments_.problem.pre_nms_top_n;
    const StoredKeys keys = {arguments_.level_keys + int64_t(image) * candidates};
    const float4* boxes = arguments_.level_boxes + int64_t(image) * candidates;
    const int count = select_largest(
        shared_.select, keys, candidates, most, [&](int place, uint64_t key) { shared_.keys[place] = key; });
    sort_falling(shared_.keys, count);
    for (int i = int(threadIdx.x); i < most; i += int(blockDim.x)) {
      const int64_t to = int64_t(image) * most + i;
      const bool found = i < count;
      arguments_.proposals[to] = found ? boxes[index_in(shared_.keys[i])] : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      arguments_.proposal_scores[to] =
          found ? score_of(order_in(shared_.keys[i])) : __uint_as_float(0xFF800000u);  // -inf
    }
    if (threadIdx.x == 0) arguments_.count[image] = count;
  }

 private:
  const ProposalsArguments& arguments_;
  JointShared& shared_;
};

}  // namespace pssdet::detection
