// 16 x 16 x 16 matrix products on tensor cores, half times half into float32: two policies with one interface,
// each copying a k-tile of the weights into shared memory its own way while the one before it is multiplied.
//
// In both, a matrix of A is 16 rows of 16 consecutive k; a matrix of B is 16 columns of 16 consecutive k each
// (its memory is the transposed B); pitches are in elements. A product is computed by one warp, all lanes of
// which make the same calls.
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
      first_[i] = column < arguments.problem.out_channels
          ? uint32_t(column) * (uint32_t(depth) / 8) + within(i) / 8
          : kNone;
    }
  }

 protected:
  static PSSDET_DEVICE int row(int i) { return (int(threadIdx.x) + i * Tile::kThreads) / (Tile::kTileK / 8); }
  static PSSDET_DEVICE int within(int i) {
    return (int(threadIdx.x) + i * Tile::kThreads) % (Tile::kTileK / 8) * 8;
  }
  static PSSDET_DEVICE int target(int i) { return row(i) * Tile::kPitch + within(i); }
  PSSDET_DEVICE bool exists(int i, int k) const { return first_[i] != kNone && k + within(i) < depth_; }
  // An address that may be read even where nothing exists.
  PSSDET_DEVICE const Half8* source(int i, int k) const {
    return weight_ + (exists(i, k) ? first_[i] + uint32_t(k) / 8 : 0);
  }

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
    for (int i = 0; i < this->kCount; ++i)
      copy_async(to + this->target(i), this->source(i, k), this->exists(i, k));
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

#if !defined(__CUDACC__) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800)

// mma.sync and ldmatrix: sm_80 and newer. Layouts: PTX ISA, matrix fragments for mma.m16n8k16.
struct MmaSync {
  template <typename Tile>
  using WeightCopy = AsyncCopy<Tile>;

  struct A {
    uint32_t part[4];
  };
  struct B {
    uint32_t part[4];  // of columns 0..7, then of columns 8..15
  };
  struct C {
    float value[8];
  };

  static PSSDET_DEVICE void clear(C& c) {
#pragma unroll
    for (int i = 0; i < 8; ++i) c.value[i] = 0.0f;
  }

  static PSSDET_DEVICE void load(A& a, const half* matrix, int pitch) {
    const int lane = threadIdx.x % 32;
    load_matrices(a.part, matrix + (lane % 16) * pitch + lane / 16 * 8);
  }

  static PSSDET_DEVICE void load(B& b, const half* matrix, int pitch) {
    const int lane = threadIdx.x % 32;
    load_matrices(b.part, matrix + (lane % 8 + lane / 16 * 8) * pitch + lane / 8 % 2 * 8);
  }

  static PSSDET_DEVICE void multiply(C& c, const A& a, const B& b) {
    multiply_16x8x16(c.value, a.part, b.part);
    multiply_16x8x16(c.value + 4, a.part, b.part + 2);
  }

  // Calls visit(row, column, value) with a reference to each of the lane's eight sums.
  template <typename Visit>
  static PSSDET_DEVICE void each(C& c, Visit visit) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 8; ++i) visit(lane / 4 + i / 2 % 2 * 8, lane % 4 * 2 + i % 2 + i / 4 * 8, c.value[i]);
  }

  static PSSDET_DEVICE void store(float* matrix, int pitch, C& c) {
    each(c, [&](int row, int column, float& value) { matrix[row * pitch + column] = value; });
  }

  static PSSDET_DEVICE void add(C& c, const float* matrix, int pitch) {
    each(c, [&](int row, int column, float& value) { value += matrix[row * pitch + column]; });
  }
};

#endif

// wmma: sm_70 and sm_75. The layout of its fragments is unspecified.
struct Wmma {
  template <typename Tile>
  using WeightCopy = RegisterCopy<Tile>;

  using A = WmmaA;
  using B = WmmaB;
  using C = WmmaC;

  static PSSDET_DEVICE void clear(C& c) { wmma_fill(c, 0.0f); }
  static PSSDET_DEVICE void load(A& a, const half* matrix, int pitch) { wmma_load(a, matrix, pitch); }
  static PSSDET_DEVICE void load(B& b, const half* matrix, int pitch) { wmma_load(b, matrix, pitch); }
  static PSSDET_DEVICE void multiply(C& c, const A& a, const B& b) { wmma_multiply(c, a, b); }
  static PSSDET_DEVICE void store(float* matrix, int pitch, C& c) { wmma_store(matrix, c, pitch); }

  static PSSDET_DEVICE void add(C& c, const float* matrix, int pitch) {
    C other;
    wmma_load(other, matrix, pitch);
#pragma unroll
    for (int i = 0; i < c.num_elements; ++i) c.x[i] += other.x[i];
  }
};

// The one for the architecture that is compiled for. Host code only names it.
#if defined(__CUDACC__) && !(defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800)
struct MmaOfArchitecture : Wmma {};
#else
struct MmaOfArchitecture : MmaSync {};
#endif

}  // namespace pssdet::dcnv2
