// Greedy non-maximum suppression of sorted boxes in shared memory, by the threads of a block (docs/kernels.md).
#pragma once

#include "block_select.cuh"
#include "boxes.h"

namespace pssdet::detection {

struct NmsShared {
  Box* boxes;         // as seen, best first; x is NaN where there is no candidate
  uint32_t* earlier;  // for each box, the ones before it in its group that it overlaps
  uint32_t* removed;  // for each group
  uint32_t* kept;     // the result: for each group, the boxes that stay
};

// What a block of NMS has in shared memory: boxes, and behind them the keys, which the search of the candidates
// and NMS itself use for what they need while there are no boxes yet, or no keys any more.
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

// The number of whole groups' boxes; `boxes` and `earlier` have that many.
PSSDET_HOST_DEVICE constexpr int whole_groups(int count) { return ceil_div(count, 32) * 32; }

// The lanes of this warp that stay, of those in `alive`. Right for lane i once it is for those before, so it
// takes as many rounds as the longest chain of boxes of which each suppresses the next.
PSSDET_DEVICE uint32_t survivors(uint32_t alive, uint32_t earlier) {
  const bool candidate = alive >> lane_of_thread() & 1;
  uint32_t chosen = alive, before;
  do {
    before = chosen;
    chosen = __ballot_sync(kAllLanes, candidate && !(earlier & before));
  } while (chosen != before);
  return chosen;
}

// The first `most` of the set.
PSSDET_DEVICE uint32_t first_of(uint32_t set, int most) {
  const bool in = (set >> lane_of_thread() & 1) && __popc(set & lanes_before()) < most;
  return __ballot_sync(kAllLanes, in);
}

PSSDET_DEVICE void prepare_groups(const NmsShared& shared, int groups, float threshold) {
  const int lane = lane_of_thread();
  for (int group = int(threadIdx.x) / 32; group < groups; group += int(blockDim.x) / 32) {
    const Box* boxes = shared.boxes + 32 * group;
    const Box own = boxes[lane];
    uint32_t earlier = 0;
    for (int other = 0; other < 31; ++other) {
      if (other < lane && overlap(boxes[other], own, threshold)) earlier |= 1u << other;
    }
    shared.earlier[32 * group + lane] = earlier;
    const uint32_t absent = __ballot_sync(kAllLanes, is_nan(own.x));
    if (lane == 0) {
      shared.removed[group] = absent;
      shared.kept[group] = 0;
    }
  }
  __syncthreads();
}

// Removes what the boxes `chosen` of one group suppress in all later groups. Where warps outnumber groups,
// several share a group, each with a part of the chosen boxes.
PSSDET_DEVICE void suppress_later(
    const NmsShared& shared, int group, int groups, uint32_t chosen, float threshold) {
  const int lane = lane_of_thread(), warps = int(blockDim.x) / 32, later = groups - group - 1;
  int parts = 1;
  while (parts < 32 && 2 * parts * later <= warps) parts *= 2;
  const uint32_t every = parts == 32 ? 1u : 0xFFFFFFFFu / ((1u << parts) - 1);
  for (int unit = int(threadIdx.x) / 32; unit < later * parts; unit += warps) {
    const int part = unit / later, other = group + 1 + unit - part * later;
    const Box own = shared.boxes[32 * other + lane];
    bool gone = false;
    for (uint32_t left = chosen & (every << part); left; left &= left - 1) {
      gone |= overlap(shared.boxes[32 * group + __ffs(int(left)) - 1], own, threshold);
    }
    const uint32_t found = __ballot_sync(kAllLanes, gone);
    if (lane == 0 && found) atomicOr(&shared.removed[other], found);
  }
}

// Keeps the first `most` boxes that no kept one before overlaps by more than the threshold.
// boxes[count, whole_groups(count)) need not be set. Ends with a barrier; returns how many were kept.
PSSDET_DEVICE int suppress(const NmsShared& shared, int count, int most, float threshold) {
  const int groups = whole_groups(count) / 32;
  const float nan = __uint_as_float(0x7FC00000u);
  for (int i = count + int(threadIdx.x); i < 32 * groups; i += int(blockDim.x))
    shared.boxes[i] = make_float4(nan, nan, nan, nan);
  __syncthreads();
  prepare_groups(shared, groups, threshold);
  int kept = 0;
  for (int group = 0; group < groups && kept < most; ++group) {
    // Every warp finds the same, so that none waits for another to tell it.
    uint32_t chosen = survivors(~shared.removed[group], shared.earlier[32 * group + lane_of_thread()]);
    chosen = first_of(chosen, most - kept);
    kept += __popc(chosen);
    if (threadIdx.x == 0) shared.kept[group] = chosen;
    suppress_later(shared, group, groups, chosen, threshold);
    __syncthreads();
  }
  return kept;
}

}  // namespace pssdet::detection
