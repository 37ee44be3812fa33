// 16 x 16 x 16 matrix products on tensor cores, half times half into float32: two policies with one interface.
//
// In both, a matrix of A is 16 rows of 16 consecutive k; a matrix of B is 16 columns of 16 consecutive k each (its memory is the
// transposed B); pitches are in elements. A product is computed by one warp, all lanes of which make the same calls.
#pragma once

#include "../device/device.h"
#include "instructions.cuh"
#include "weight_copy.cuh"

namespace pssdet::dcnv2 {

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

// wmma: sm_70 and sm_75, whose layouts are the compiler's secret.
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
