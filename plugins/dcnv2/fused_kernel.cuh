// The fused kernel: sampling and matrix product in one pass, half NHWC, on tensor cores (docs/kernels.md).
#pragma once

#include "../device/launch.h"
#include "arguments.h"
#include "mma.cuh"

namespace pssdet::dcnv2 {

// Values by which a row in shared memory is longer than its content: rows would else fall on the same banks.
constexpr int kSkew = 8;

// Rows x Columns outputs of a block; TileK values of k at a time. WarpsM x WarpsN warps share the outputs;
// WarpsK such groups slice each k-tile among them, so that a small problem has more warps.
template <int Rows, int Columns, int TileK, int WarpsM, int WarpsN, int WarpsK>
struct Tile {
  static constexpr int kRows = Rows, kColumns = Columns, kTileK = TileK;
  static constexpr int kWarpsM = WarpsM, kWarpsN = WarpsN, kWarpsK = WarpsK;
  static constexpr int kThreads = 32 * WarpsM * WarpsN * WarpsK;
  static constexpr int kPitch = TileK + kSkew, kOutPitch = Columns + 4;
  static constexpr int kTilesM = Rows / WarpsM / 16, kTilesN = Columns / WarpsN / 16,
                       kStepsK = TileK / WarpsK / 16;
  static constexpr int kSamples = Rows * (TileK / 8) / kThreads;  // eight channels of a pixel each, by a thread

  static_assert(kThreads % Rows == 0);
  static_assert(Rows % (16 * WarpsM) == 0 && Columns % (16 * WarpsN) == 0 && TileK % (16 * WarpsK) == 0);
  static_assert(Rows * (TileK / 8) % kThreads == 0 && Columns * (TileK / 8) % kThreads == 0);

  static constexpr int kStageBytes = (Rows + Columns) * kPitch * int(sizeof(half));
  static constexpr int kRowBytes = kOutPitch * int(sizeof(float));

  // The result passes through the memory of samples and weights; if it is larger, one row of warps at a time.
  static constexpr int kParts = Rows * kRowBytes <= 2 * kStageBytes ? 1 : WarpsM;
  static constexpr int kPartRows = Rows / kParts, kPartWarpsM = WarpsM / kParts;

  static_assert(kPartRows * kRowBytes <= 2 * kStageBytes);

  static PSSDET_HOST_DEVICE constexpr int shared_bytes(int taps) {
    return 2 * kStageBytes + taps * Rows * int(sizeof(float4) + sizeof(int32_t));
  }
};

// The fused kernel. Mma: the policy of matrix products, in mma.cuh.
template <typename Tile, typename Mma = MmaOfArchitecture>
class Fused : public LaunchBounds<Tile::kThreads, 1>, public DynamicShared<Tile::shared_bytes(kMaxFusedTaps)> {
 public:
  using Arguments = dcnv2::Arguments;
  static int shared_bytes(const Arguments& arguments) { return Tile::shared_bytes(arguments.taps()); }
  static int64_t blocks(const Arguments& arguments) {
    const int64_t rows = int64_t(arguments.problem.batch) * arguments.pixels();
    return (rows + Tile::kRows - 1) / Tile::kRows * ceil_div(arguments.problem.out_channels, Tile::kColumns);
  }

  PSSDET_DEVICE Fused(const Arguments& arguments, unsigned char* shared)
      : arguments_(arguments), shared_(shared) {
    const int column_tiles = ceil_div(arguments.problem.out_channels, Tile::kColumns);
    // Blocks that read the same pixels are neighbours, so that they share them in the caches.
    first_row_ = int(blockIdx.x) / column_tiles * Tile::kRows;
    first_column_ = int(blockIdx.x) % column_tiles * Tile::kColumns;
    depth_ = arguments.taps() * arguments.problem.channels;
    gather_weights_ = reinterpret_cast<float4*>(shared + 2 * Tile::kStageBytes);
    gather_places_ = reinterpret_cast<uint32_t*>(gather_weights_ + arguments.taps() * Tile::kRows);
  }

  PSSDET_DEVICE void run() {
    build_gather_table();
    __syncthreads();
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

  PSSDET_DEVICE void build_gather_table() {
    const int pixels = arguments_.pixels(), row = first_row_ + int(threadIdx.x) % Tile::kRows, n = row / pixels;
    const bool exists = row < arguments_.problem.batch * pixels;
    const OutputPixel at = arguments_.pixel(n, row - n * pixels);
    for (int entry = threadIdx.x; entry < arguments_.taps() * Tile::kRows; entry += Tile::kThreads) {
      float4 weight = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      uint32_t place = 0;
      if (exists) {
        const Corners<float> corners = arguments_.corners(at, 0, entry / Tile::kRows);
        weight = make_float4(corners.weight[0], corners.weight[1], corners.weight[2], corners.weight[3]);
        const int pixel = (n * arguments_.problem.height + corners.y) * arguments_.problem.width + corners.x;
        place = uint32_t(pixel << 2 | corners.down << 1 | corners.right);
      }
      gather_weights_[entry] = weight;
      gather_places_[entry] = place;
    }
  }

  // Starts reading the four corners of this thread's samples of the k-tile at `k`.
  PSSDET_DEVICE void read_corners(int k) {
    const float per_tap = 1.0f / float(arguments_.problem.channels);
#pragma unroll
    for (int i = 0; i < Tile::kSamples; ++i) {
      const int task = int(threadIdx.x) + i * Tile::kThreads;
      const int row = task / (Tile::kTileK / 8), at = k + task % (Tile::kTileK / 8) * 8;
      // Exact: a half more than a multiple of eight is far enough from both neighbours of the quotient.
      const int tap = int((float(at) + 0.5f) * per_tap);
      entry_[i] = at < depth_ ? tap * Tile::kRows + row : -1;
      if (entry_[i] < 0) continue;
      // In eights of values, 32 bits are enough: one instruction makes an address.
      const Half8* x = static_cast<const Half8*>(arguments_.x);
      const uint32_t place = gather_places_[entry_[i]], pitch = uint32_t(arguments_.channel_pitch) / 8;
      const uint32_t corner = (place >> 2) * pitch + uint32_t(at - tap * arguments_.problem.channels) / 8;
      const uint32_t right = (place & 1) * pitch, down = (place >> 1 & 1) * (arguments_.problem.width * pitch);
      corners_[i][0] = load8(x + corner);
      corners_[i][1] = load8(x + corner + right);
      corners_[i][2] = load8(x + corner + down);
      corners_[i][3] = load8(x + corner + down + right);
    }
  }

  PSSDET_DEVICE void store_samples(int stage) {
#pragma unroll
    for (int i = 0; i < Tile::kSamples; ++i) {
      const int task = int(threadIdx.x) + i * Tile::kThreads;
      const int row = task / (Tile::kTileK / 8), column = task % (Tile::kTileK / 8) * 8;
      Half8 blended;
      if (entry_[i] >= 0) {
        blended = blend(corners_[i], gather_weights_[entry_[i]]);
      } else {
#pragma unroll
        for (int pair = 0; pair < 4; ++pair) blended.pair[pair] = __floats2half2_rn(0.0f, 0.0f);
      }
      store8(samples(stage) + row * Tile::kPitch + column, blended);
    }
  }

  static PSSDET_DEVICE Half8 blend(const Half8 (&corner)[4], float4 weight) {
    Half8 result;
#pragma unroll
    for (int pair = 0; pair < 4; ++pair) {
      const float2 a = __half22float2(corner[0].pair[pair]), b = __half22float2(corner[1].pair[pair]);
      const float2 c = __half22float2(corner[2].pair[pair]), d = __half22float2(corner[3].pair[pair]);
      result.pair[pair] = __floats2half2_rn(weight.x * a.x + weight.y * b.x + weight.z * c.x + weight.w * d.x,
          weight.x * a.y + weight.y * b.y + weight.z * c.y + weight.w * d.y);
    }
    return result;
  }

  PSSDET_DEVICE void multiply_all() {
#pragma unroll
    for (int m = 0; m < Tile::kTilesM; ++m) {
#pragma unroll
      for (int n = 0; n < Tile::kTilesN; ++n) Mma::clear(sums_[m][n]);
    }
    typename Mma::template WeightCopy<Tile> copy(arguments_, first_column_, depth_);
    copy.start(0, weights(0));
    read_corners(0);
    store_samples(0);
    copy.finish(weights(0));
    __syncthreads();
    const int k_tiles = ceil_div(depth_, Tile::kTileK);
    for (int k_tile = 0; k_tile < k_tiles; ++k_tile) {
      const int stage = k_tile & 1, other = stage ^ 1;
      const bool more = k_tile + 1 < k_tiles;
      if (more) {
        copy.start((k_tile + 1) * Tile::kTileK, weights(other));
        read_corners((k_tile + 1) * Tile::kTileK);
      }
      multiply(stage);
      if (more) {
        store_samples(other);
        copy.finish(weights(other));
      }
      __syncthreads();
    }
  }

  PSSDET_DEVICE void multiply(int stage) {
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
#pragma unroll
        for (int m = 0; m < Tile::kTilesM; ++m) {
#pragma unroll
          for (int n = 0; n < Tile::kTilesN; ++n) {
            float* matrix = mine + m * 16 * Tile::kOutPitch + n * 16;
            if (group > 0) Mma::add(sums_[m][n], matrix, Tile::kOutPitch);
            Mma::store(matrix, Tile::kOutPitch, sums_[m][n]);
          }
        }
      }
      __syncthreads();
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
  int first_row_, first_column_, depth_;
  float4* gather_weights_;
  uint32_t* gather_places_;
  int32_t entry_[Tile::kSamples];
  Half8 corners_[Tile::kSamples][4];
  typename Mma::C sums_[Tile::kTilesM][Tile::kTilesN];
};

// The tiles of the fused kernel, largest first, and which of them a problem gets.
//                       pixels, channels, k-tile, warps
using Tile128x128 = Tile<128, 128, 32, 2, 4, 1>;
using Tile64x256 = Tile<64, 256, 32, 2, 4, 1>;  // samples once for 256 output channels
using Tile64x128 = Tile<64, 128, 32, 2, 2, 1>;
using Tile64x64 = Tile<64, 64, 64, 2, 2, 2>;
using Tile32x64 = Tile<32, 64, 128, 1, 2, 4>;  // for batch 1: many blocks, and four sliced-K groups in each

constexpr int kTiles = 5;

// Calls visit(Tile()) with the tile of that number.
template <typename Visit>
auto with_tile(int number, Visit visit) {
  switch (number) {
    case 0: return visit(Tile128x128());
    case 1: return visit(Tile64x256());
    case 2: return visit(Tile64x128());
    case 3: return visit(Tile64x64());
    default: return visit(Tile32x64());
  }
}

// The largest tile that gives every multiprocessor work and is not wider than the output; else the smallest.
inline int choose_tile(const Arguments& arguments, int multiprocessors) {
  for (int number = 0; number < kTiles; ++number) {
    const bool suits = with_tile(number, [&](auto tile) {
      return tile.kColumns <= arguments.problem.out_channels &&
          Fused<decltype(tile)>::blocks(arguments) >= multiprocessors;
    });
    if (suits) return number;
  }
  return kTiles - 1;
}

}  // namespace pssdet::dcnv2
