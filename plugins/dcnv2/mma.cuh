// 16 x 16 x 16 matrix products on tensor cores, half times half into float32: two policies with one interface,
// each copying a k-tile of the weights into shared memory its own way while the one before it is multiplied.
//
// In both, a matrix of A is 16 rows of 16 consecutive k; a matrix of B is 16 columns of 16 consecutive k each
// (its memory is the transposed B); pitches are in elements. A product is computed by one warp, all lanes of
// which make the same calls, together: the caller says __syncwarp() after anything by which they may have
// parted.
#pragma once

#include "arguments.h"
#include "instructions.cuh"
#include "tile.cuh"

namespace pssdet::dcnv2 {

// A thread's groups of eight weights of the k-tiles, one k-tile after the other. Divided: there is no k-tile
// and no column that the weights do not fill (Tile::divides).
template <typename Tile, bool Divided>
class WeightGroups;

template <typename Tile>
class WeightGroups<Tile, false> {
 public:
  static constexpr int kCount = Tile::kColumns * (Tile::kTileK / 8) / Tile::kThreads;

  PSSDET_DEVICE WeightGroups(const Arguments& arguments, int first_column, int depth)
      : weight_(static_cast<const Half8*>(arguments.weight)), depth_(depth) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int column = first_column + Tile::row_of_group(i);
      first_[i] = column < arguments.problem.out_channels
          ? uint32_t(column) * (uint32_t(depth) / 8) + uint32_t(Tile::column_of_group()) / 8
          : kNone;
    }
  }

 protected:
  PSSDET_DEVICE bool exists(int i) const {
    return first_[i] != kNone && next_k_ + Tile::column_of_group() < depth_;
  }
  // An address that may be read even where nothing exists.
  PSSDET_DEVICE const Half8* source(int i) const {
    return weight_ + (exists(i) ? first_[i] + uint32_t(next_k_) / 8 : 0);
  }
  PSSDET_DEVICE void advance() { next_k_ += Tile::kTileK; }

 private:
  static constexpr uint32_t kNone = ~uint32_t(0);
  const Half8* weight_;
  int depth_, next_k_ = 0;
  uint32_t first_[kCount];  // of a column that exists, in eights of values
};

template <typename Tile>
class WeightGroups<Tile, true> {
 public:
  static constexpr int kCount = Tile::kColumns * (Tile::kTileK / 8) / Tile::kThreads;

  PSSDET_DEVICE WeightGroups(const Arguments& arguments, int first_column, int depth)
      : between_(uint32_t(Tile::row_of_group(1) - Tile::row_of_group(0)) * (uint32_t(depth) / 8)),
        next_(static_cast<const Half8*>(arguments.weight) +
            uint32_t(first_column + Tile::row_of_group(0)) * (uint32_t(depth) / 8) +
            uint32_t(Tile::column_of_group()) / 8) {}

 protected:
  PSSDET_DEVICE bool exists(int) const { return true; }
  PSSDET_DEVICE const Half8* source(int i) const { return next_ + uint32_t(i) * between_; }
  PSSDET_DEVICE void advance() { next_ += Tile::kTileK / 8; }

 private:
  uint32_t between_;  // two groups, in eights of values
  const Half8* next_;
};

#if !defined(__CUDACC__) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800)

// sm_80 and newer: straight into shared memory.
template <typename Tile, bool Divided>
class AsyncCopy : WeightGroups<Tile, Divided> {
 public:
  using WeightGroups<Tile, Divided>::WeightGroups;

  PSSDET_DEVICE void start(half* to) {
#pragma unroll
    for (int i = 0; i < this->kCount; ++i)
      copy_async(to + Tile::place_of_group(i), this->source(i), this->exists(i));
    commit_copies();
    this->advance();
  }
  PSSDET_DEVICE void finish(half*) { wait_for_copies<0>(); }
};

#endif

// Older: by way of registers.
template <typename Tile, bool Divided>
class RegisterCopy : WeightGroups<Tile, Divided> {
 public:
  using WeightGroups<Tile, Divided>::WeightGroups;

  PSSDET_DEVICE void start(half*) {
#pragma unroll
    for (int i = 0; i < this->kCount; ++i) {
      values_[i] = load8(this->source(i));
      if (!this->exists(i)) {
#pragma unroll
        for (int pair = 0; pair < 4; ++pair) values_[i].pair[pair] = __floats2half2_rn(0.0f, 0.0f);
      }
    }
    this->advance();
  }
  PSSDET_DEVICE void finish(half* to) {
#pragma unroll
    for (int i = 0; i < this->kCount; ++i) store8(to + Tile::place_of_group(i), values_[i]);
  }

 private:
  Half8 values_[WeightGroups<Tile, Divided>::kCount];
};

#if !defined(__CUDACC__) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800)

// mma.sync and ldmatrix: sm_80 and newer. Layouts: PTX ISA, matrix fragments for mma.m16n8k16.
struct MmaSync {
  template <typename Tile, bool Divided>
  using WeightCopy = AsyncCopy<Tile, Divided>;

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
  template <typename Tile, bool Divided>
  using WeightCopy = RegisterCopy<Tile, Divided>;

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
