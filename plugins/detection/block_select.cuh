// The largest of many keys, and keys in order, by a block's threads: exact, the same in any order of threads.
//
// Radix select: a pass counts the values of the next eight bits among the keys that agree with the bits chosen
// so far, which tells the last wanted key's. It ends when all keys that agree are wanted.
#pragma once

#include "../device/device.h"
#include "detection.h"

namespace pssdet::detection {

// A candidate's key of 64 bits: the higher score comes first, of equal scores the lower index. No two keys are
// equal, so every choice among them has one result.

// Below every key of a candidate.
constexpr uint64_t kNoKey = 0;
constexpr uint32_t kNoScore = 0;

// ONNX has -inf for candidates that are none, and asks whether a score passes this.
constexpr float kAnyScore = -3e38f;

// The order of floats as whole numbers; zeros of both signs are equal, NaN is first as in ONNX Runtime's TopK.
PSSDET_DEVICE uint32_t order_of(float score) {
  if (score != score) return 0xFFFFFFFFu;
  const uint32_t bits = __float_as_uint(score == 0.0f ? 0.0f : score);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// Inverse of order_of; NaN for NaN.
PSSDET_DEVICE float score_of(uint32_t order) {
  return __uint_as_float(order & 0x80000000u ? order & 0x7FFFFFFFu : ~order);
}

PSSDET_DEVICE uint64_t key_of(uint32_t order, uint32_t index) {
  return uint64_t(order) << 32 | uint32_t(~index);
}
PSSDET_DEVICE uint32_t order_in(uint64_t key) { return uint32_t(key >> 32); }
PSSDET_DEVICE uint32_t index_in(uint64_t key) { return ~uint32_t(key); }

constexpr unsigned kAllLanes = 0xFFFFFFFFu;
constexpr int kDigitBits = 8;
constexpr int kBins = 1 << kDigitBits;

PSSDET_DEVICE int lane_of_thread() { return int(threadIdx.x) % 32; }
PSSDET_DEVICE uint32_t lanes_before() { return (1u << lane_of_thread()) - 1; }

struct SelectShared {
  uint32_t bins[kBins];
  uint32_t digit;  // of the last wanted key; kBins if there are fewer keys than wanted
  uint32_t above;  // keys with a larger digit
  uint32_t same;   // keys with this digit
  uint32_t taken;
};

// The shared memory of a selection among all levels, or all classes.
struct JointShared {
  SelectShared select;
  uint64_t keys[PSSDET_MAX_CANDIDATES];
};

// Reserves a slot for each of the warp's lanes that wants one; slots are given out in no particular order.
PSSDET_DEVICE uint32_t place_for(bool wants, uint32_t* taken) {
  const uint32_t wanting = __ballot_sync(kAllLanes, wants);
  uint32_t first = 0;
  if (wanting && lane_of_thread() == 0) first = atomicAdd(taken, uint32_t(__popc(wanting)));
  return __shfl_sync(kAllLanes, first, 0) + uint32_t(__popc(wanting & lanes_before()));
}

// One warp's work: each lane looks through its share of the bins, the last lane through the highest.
PSSDET_DEVICE void find_digit(SelectShared& shared, uint32_t wanted) {
  constexpr int kOfLane = kBins / 32;
  const int lane = lane_of_thread(), first = lane * kOfLane;
  uint32_t own = 0;
  for (int i = 0; i < kOfLane; ++i) own += shared.bins[first + i];
  uint32_t from_here = own;  // in this lane's bins and all above them
  for (int by = 1; by < 32; by *= 2) {
    const uint32_t more = __shfl_down_sync(kAllLanes, from_here, unsigned(by));
    if (lane + by < 32) from_here += more;
  }
  if (lane == 0 && from_here < wanted) shared.digit = kBins;
  uint32_t above = from_here - own;
  if (from_here < wanted || above >= wanted) return;
  int digit = first + kOfLane - 1;
  for (; above + shared.bins[digit] < wanted; --digit) above += shared.bins[digit];
  shared.digit = uint32_t(digit);
  shared.above = above;
  shared.same = shared.bins[digit];
}

// A bound that `wanted` keys reach, and no others; all keys reach it if there are fewer.
template <typename Keys>
PSSDET_DEVICE uint64_t lowest_wanted(SelectShared& shared, const Keys& keys, int count, uint32_t wanted) {
  uint64_t chosen = 0;  // the digits so far
  for (int shift = 64 - kDigitBits;; shift -= kDigitBits) {
    for (int bin = int(threadIdx.x); bin < kBins; bin += int(blockDim.x)) shared.bins[bin] = 0;
    __syncthreads();
    for (int i = int(threadIdx.x); i < count; i += int(blockDim.x)) {
      const uint32_t order = keys.order(i);
      if (order == kNoScore) continue;
      const uint64_t key = shift >= 32 ? uint64_t(order) << 32 : keys.key(i);
      // The result is unused and the addend constant, so the GPU adds a warp's for one bin at once.
      // Many scores are alike.
      if (key >> shift >> kDigitBits == chosen) atomicAdd(&shared.bins[key >> shift & (kBins - 1)], 1u);
    }
    __syncthreads();
    if (threadIdx.x < 32) find_digit(shared, wanted);
    __syncthreads();
    if (shared.digit == kBins) return kNoKey + 1;
    chosen = chosen << kDigitBits | shared.digit;
    wanted -= shared.above;
    if (shared.same == wanted) return chosen << shift;
  }
}

// Gives `take` the `wanted` largest keys, or all if there are fewer: (place, key), places from 0 in no order.
// Returns how many. Keys: order(i) and key(i) for i below count; an order of kNoScore is no candidate.
template <typename Keys, typename Take>
PSSDET_DEVICE int select_largest(
    SelectShared& shared, const Keys& keys, int count, int wanted, const Take& take) {
  if (threadIdx.x == 0) shared.taken = 0;
  const uint64_t lowest = lowest_wanted(shared, keys, count, uint32_t(wanted));
  for (int first = 0; first < count; first += int(blockDim.x)) {
    const int i = first + int(threadIdx.x);
    const uint32_t order = i < count ? keys.order(i) : kNoScore;
    const uint64_t key = order != kNoScore && order >= order_in(lowest) ? keys.key(i) : kNoKey;
    const bool wants = key >= lowest;
    const uint32_t place = place_for(wants, &shared.taken);
    if (wants) take(int(place), key);
  }
  __syncthreads();
  return int(shared.taken);
}

struct StoredKeys {
  const uint64_t* keys;

  PSSDET_DEVICE uint64_t key(int i) const { return keys[i]; }
  PSSDET_DEVICE uint32_t order(int i) const { return order_in(keys[i]); }
};

PSSDET_HOST_DEVICE constexpr int power_of_two_from(int least) {
  int power = 1;
  while (power < least) power *= 2;
  return power;
}

// Puts keys[0, count) in falling order, by Batcher's bitonic sort. kNoKey fills the room up to the next power
// of two, which must be there.
PSSDET_DEVICE void sort_falling(uint64_t* keys, int count) {
  const int size = power_of_two_from(count);
  for (int i = count + int(threadIdx.x); i < size; i += int(blockDim.x)) keys[i] = kNoKey;
  __syncthreads();
  for (int run = 2; run <= size; run *= 2) {
    for (int apart = run / 2; apart > 0; apart /= 2) {
      for (int pair = int(threadIdx.x); pair < size / 2; pair += int(blockDim.x)) {
        const int first = 2 * pair - (pair & (apart - 1)), second = first + apart;
        const uint64_t a = keys[first], b = keys[second];
        const bool falling = (first & run) == 0;
        if ((a < b) == falling) {
          keys[first] = b;
          keys[second] = a;
        }
      }
      // The 32 pairs of a warp are within 64 keys if they are at most 32 apart, now and in the next step.
      const int next = apart > 1 ? apart / 2 : run;
      if (apart <= 32 && next <= 32) {
        __syncwarp();
      } else {
        __syncthreads();
      }
    }
  }
  __syncthreads();
}

}  // namespace pssdet::detection
