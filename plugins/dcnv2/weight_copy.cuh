// How a k-tile of the weights comes into shared memory while the one before it is multiplied.
#pragma once

#include "arguments.h"
#include "instructions.cuh"

namespace pssdet::dcnv2 {

// The place in the weights of each of a thread's groups of eight values.
template <typename Tile>
class WeightGroups {
 public:
  static constexpr int kCount = Tile::kColumns * (Tile::kTileK / 8) / Tile::kThreads;

  PSSDET_DEVICE WeightGroups(const Arguments& arguments, int first_column, int depth)
      : weight_(static_cast<const Half8*>(arguments.weight)), depth_(depth) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int column = first_column + row(i);
      first_[i] = column < arguments.problem.out_channels ? uint32_t(column) * (uint32_t(depth) / 8) + within(i) / 8 : kNone;
    }
  }

 protected:
  static PSSDET_DEVICE int row(int i) { return (int(threadIdx.x) + i * Tile::kThreads) / (Tile::kTileK / 8); }
  static PSSDET_DEVICE int within(int i) { return (int(threadIdx.x) + i * Tile::kThreads) % (Tile::kTileK / 8) * 8; }
  static PSSDET_DEVICE int target(int i) { return row(i) * Tile::kPitch + within(i); }
  PSSDET_DEVICE bool exists(int i, int k) const { return first_[i] != kNone && k + within(i) < depth_; }
  // An address that may be read even where nothing exists.
  PSSDET_DEVICE const Half8* source(int i, int k) const { return weight_ + (exists(i, k) ? first_[i] + uint32_t(k) / 8 : 0); }

 private:
  static constexpr uint32_t kNone = ~uint32_t(0);
  const Half8* weight_;
  int depth_;
  uint32_t first_[kCount];  // of a column that exists, in eights of values
};

#if !defined(__CUDACC__) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800)

// sm_80 and newer: straight into shared memory.
template <typename Tile>
class AsyncCopy : WeightGroups<Tile> {
 public:
  using WeightGroups<Tile>::WeightGroups;

  PSSDET_DEVICE void start(int k, half* to) {
#pragma unroll
    for (int i = 0; i < this->kCount; ++i) copy_async(to + this->target(i), this->source(i, k), this->exists(i, k));
    commit_copies();
  }
  PSSDET_DEVICE void finish(half*) { wait_for_copies<0>(); }
};

#endif

// Older: by way of registers.
template <typename Tile>
class RegisterCopy : WeightGroups<Tile> {
 public:
  using WeightGroups<Tile>::WeightGroups;

  PSSDET_DEVICE void start(int k, half*) {
#pragma unroll
    for (int i = 0; i < this->kCount; ++i) {
      values_[i] = load8(this->source(i, k));
      if (!this->exists(i, k)) {
#pragma unroll
        for (int pair = 0; pair < 4; ++pair) values_[i].pair[pair] = __floats2half2_rn(0.0f, 0.0f);
      }
    }
  }
  PSSDET_DEVICE void finish(half* to) {
#pragma unroll
    for (int i = 0; i < this->kCount; ++i) store8(to + this->target(i), values_[i]);
  }

 private:
  Half8 values_[WeightGroups<Tile>::kCount];
};

}  // namespace pssdet::dcnv2
