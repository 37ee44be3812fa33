// The tiles of the fused kernel: how a block's outputs are shared out to its warps, and its shared memory.
#pragma once

#include "../device/occupancy.h"
#include "arguments.h"

namespace pssdet::dcnv2 {

// Values by which a row in shared memory is longer than its content: rows would else fall on the same banks.
constexpr int kSkew = 8;

// Rows x Columns outputs of a block; TileK values of k at a time. WarpsM x WarpsN warps share the outputs;
// WarpsK such groups slice each k-tile among them, so that a small problem has more warps. Blocks share a
// multiprocessor where its shared memory has room for them: the compiler leaves registers for so many.
template <int Rows, int Columns, int TileK, int WarpsM, int WarpsN, int WarpsK, int Blocks>
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

  static PSSDET_HOST_DEVICE constexpr int blocks_per_multiprocessor(int capability) {
    return resident_blocks(Blocks, shared_bytes(kMaxFusedTaps), capability, shared_bytes_of(capability));
  }

  static int64_t blocks(const Arguments& arguments) {
    const int64_t rows = int64_t(arguments.problem.batch) * arguments.pixels();
    return (rows + Rows - 1) / Rows * ceil_div(arguments.problem.out_channels, Columns);
  }

  // Whether every k-tile lies within one tap, and every column is an output channel.
  static bool divides(const Arguments& arguments) {
    return arguments.problem.channels % TileK == 0 && arguments.problem.out_channels % Columns == 0;
  }

  // A thread's groups of eight values of a k-tile: which row, and where in it. Four threads fill a row of 32
  // values; rows four apart are stored together, since those of neighbours would share banks.
  static PSSDET_DEVICE int row_of_group(int i) {
    constexpr unsigned kOfRow = TileK / 8;
    static_assert(kThreads / kOfRow % 8 == 0);
    const unsigned row = threadIdx.x / kOfRow;
    return int(TileK == 32 ? (row & ~5u) | (row & 1u) << 2 | (row >> 2 & 1u) : row) +
        i * int(kThreads / kOfRow);
  }
  static PSSDET_DEVICE int place_of_group(int i) { return row_of_group(i) * kPitch + column_of_group(); }
  static PSSDET_DEVICE int column_of_group() { return int(threadIdx.x % (TileK / 8u)) * 8; }
};

// Largest first.    pixels, channels, k-tile, warps, blocks
using Tile128x128 = Tile<128, 128, 32, 2, 4, 1, 1>;
using Tile64x256 = Tile<64, 256, 32, 2, 4, 1, 2>;  // samples once for 256 output channels
using Tile64x128 = Tile<64, 128, 32, 2, 2, 1, 3>;
using Tile64x64 = Tile<64, 64, 64, 2, 2, 2, 2>;
using Tile32x64 = Tile<32, 64, 128, 1, 2, 4, 2>;  // for batch 1: many blocks, four sliced-K groups each

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

}  // namespace pssdet::dcnv2
