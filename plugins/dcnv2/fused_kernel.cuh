// The fused kernel: sampling and matrix product in one pass, half NHWC, on tensor cores (docs/kernels.md).
#pragma once

#include "../device/launch.h"
#include "mma.cuh"
#include "samples.cuh"

namespace pssdet::dcnv2 {

// Divided: for problems that Tile::divides, of which nothing need be asked in the loop over k.
// Mma: the policy of matrix products, in mma.cuh.
template <typename Tile, bool Divided, typename Mma = MmaOfArchitecture>
class Fused : public LaunchBounds<Tile::kThreads, 1>, public DynamicShared<Tile::shared_bytes(kMaxFusedTaps)> {
 public:
  using Arguments = dcnv2::Arguments;
  static int shared_bytes(const Arguments& arguments) { return Tile::shared_bytes(arguments.taps()); }
  static int64_t blocks(const Arguments& arguments) { return Tile::blocks(arguments); }
  static PSSDET_HOST_DEVICE constexpr int blocks_per_multiprocessor(int capability) {
    return Tile::blocks_per_multiprocessor(capability);
  }

  PSSDET_DEVICE Fused(const Arguments& arguments, unsigned char* shared)
      : arguments_(arguments), shared_(shared), table_(shared + 2 * Tile::kStageBytes, arguments.taps()) {
    const int column_tiles = ceil_div(arguments.problem.out_channels, Tile::kColumns);
    // Blocks that read the same pixels are neighbours, so that they share them in the caches.
    first_row_ = int(blockIdx.x) / column_tiles * Tile::kRows;
    first_column_ = int(blockIdx.x) % column_tiles * Tile::kColumns;
    depth_ = arguments.taps() * arguments.problem.channels;
  }

  PSSDET_DEVICE void run() {
    multiply_all();
    for (int part = 0; part < Tile::kParts; ++part) {
      if (part > 0) __syncthreads();
      reduce_k(part);
      epilogue(part);
    }
  }

 private:
  PSSDET_DEVICE half* samples(int stage) const {
    return reinterpret_cast<half*>(shared_ + stage * Tile::kStageBytes);
  }
  PSSDET_DEVICE half* weights(int stage) const { return samples(stage) + Tile::kRows * Tile::kPitch; }

  PSSDET_DEVICE void multiply_all() {
#pragma unroll
    for (int m = 0; m < Tile::kTilesM; ++m) {
#pragma unroll
      for (int n = 0; n < Tile::kTilesN; ++n) Mma::clear(sums_[m][n]);
    }
    typename Mma::template WeightCopy<Tile, Divided> copy(arguments_, first_column_, depth_);
    copy.start(weights(0));  // on their way while the table is built
    table_.build(arguments_, first_row_);
    __syncthreads();
    Samples<Tile, Divided> sampled(arguments_, table_);
    sampled.read();
    sampled.store(samples(0));
    copy.finish(weights(0));
    __syncthreads();
    const int k_tiles = ceil_div(depth_, Tile::kTileK);
    for (int k_tile = 0; k_tile < k_tiles; ++k_tile) {
      const int stage = k_tile & 1, other = stage ^ 1;
      const bool more = k_tile + 1 < k_tiles;
      if (more) {
        copy.start(weights(other));
        sampled.read();
      }
      multiply(stage);
      if (more) {
        sampled.store(samples(other));
        copy.finish(weights(other));
      }
      __syncthreads();
    }
  }

  PSSDET_DEVICE void multiply(int stage) {
    __syncwarp();  // lanes without a sample to read passed by the others
    const half* a = samples(stage) + warp_m() * Tile::kTilesM * 16 * Tile::kPitch;
    const half* b = weights(stage) + warp_n() * Tile::kTilesN * 16 * Tile::kPitch;
#pragma unroll
    for (int step = 0; step < Tile::kStepsK; ++step) {
      const int k = (warp_k() * Tile::kStepsK + step) * 16;
      typename Mma::A left[Tile::kTilesM];
#pragma unroll
      for (int m = 0; m < Tile::kTilesM; ++m) Mma::load(left[m], a + m * 16 * Tile::kPitch + k, Tile::kPitch);
#pragma unroll
      for (int n = 0; n < Tile::kTilesN; ++n) {
        typename Mma::B right;
        Mma::load(right, b + n * 16 * Tile::kPitch + k, Tile::kPitch);
#pragma unroll
        for (int m = 0; m < Tile::kTilesM; ++m) Mma::multiply(sums_[m][n], left[m], right);
      }
    }
  }

  // The sums of all sliced-K groups, one after the other, into shared memory.
  PSSDET_DEVICE void reduce_k(int part) {
    float* mine = result() + warp_m() % Tile::kPartWarpsM * Tile::kTilesM * 16 * Tile::kOutPitch +
        warp_n() * Tile::kTilesN * 16;
    for (int group = 0; group < Tile::kWarpsK; ++group) {
      if (warp_k() == group && warp_m() / Tile::kPartWarpsM == part) {
        if (group > 0)
          each_matrix(
              mine, [](typename Mma::C& sums, float* matrix) { Mma::add(sums, matrix, Tile::kOutPitch); });
        each_matrix(
            mine, [](typename Mma::C& sums, float* matrix) { Mma::store(matrix, Tile::kOutPitch, sums); });
      }
      __syncthreads();
    }
  }

  // visit(sums, their place in shared memory) for each of the warp's matrices.
  template <typename Visit>
  PSSDET_DEVICE void each_matrix(float* first, Visit visit) {
    __syncwarp();  // lanes without an output to store passed by the others
#pragma unroll
    for (int m = 0; m < Tile::kTilesM; ++m) {
#pragma unroll
      for (int n = 0; n < Tile::kTilesN; ++n) visit(sums_[m][n], first + m * 16 * Tile::kOutPitch + n * 16);
    }
  }

  PSSDET_DEVICE void epilogue(int part) const {
    const int rows = arguments_.problem.batch * arguments_.pixels();
    for (int task = threadIdx.x; task < Tile::kPartRows * (Tile::kColumns / 8); task += Tile::kThreads) {
      const int row = task / (Tile::kColumns / 8), column = task % (Tile::kColumns / 8) * 8;
      const int out_row = first_row_ + part * Tile::kPartRows + row, out_column = first_column_ + column;
      if (out_row >= rows || out_column >= arguments_.problem.out_channels) continue;
      const float* sums = result() + row * Tile::kOutPitch + column;
      Half8 values;
#pragma unroll
      for (int pair = 0; pair < 4; ++pair) {
        values.pair[pair] = __floats2half2_rn(finished(sums[2 * pair], out_column + 2 * pair),
            finished(sums[2 * pair + 1], out_column + 2 * pair + 1));
      }
      store8(static_cast<half*>(arguments_.y) + int64_t(out_row) * arguments_.out_channel_pitch + out_column,
          values);
    }
  }

  PSSDET_DEVICE float finished(float sum, int column) const {
    if (arguments_.bias) sum += arguments_.bias[column];
    return arguments_.relu && sum < 0.0f ? 0.0f : sum;
  }

  PSSDET_DEVICE float* result() const { return reinterpret_cast<float*>(shared_); }
  static PSSDET_DEVICE int warp() { return int(threadIdx.x) / 32; }
  static PSSDET_DEVICE int warp_m() { return warp() % Tile::kWarpsM; }
  static PSSDET_DEVICE int warp_n() { return warp() / Tile::kWarpsM % Tile::kWarpsN; }
  static PSSDET_DEVICE int warp_k() { return warp() / (Tile::kWarpsM * Tile::kWarpsN); }

  const Arguments& arguments_;
  unsigned char* shared_;
  const GatherTable<Tile> table_;
  int first_row_, first_column_, depth_;
  typename Mma::C sums_[Tile::kTilesM][Tile::kTilesN];
};

}  // namespace pssdet::dcnv2
