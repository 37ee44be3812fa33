// Which tile computes a problem soonest, by an estimate in cycles (docs/kernels.md). It serves to compare
// tiles: nothing of it was measured on a GPU.
#pragma once

#include <algorithm>

#include "tile.cuh"

namespace pssdet::dcnv2 {

// What a tile costs a multiprocessor. Instructions: of a warp for one k-tile, in the machine code of sm_70 and
// sm_90, divided (benchmarks/results/kernel_registers.md). Once: cycles for the gather table, the first k-tile
// and the result.
struct TileCost {
  int instructions_before_80, instructions_from_80, once;
};

constexpr TileCost kTileCosts[kTiles] = {
    {542, 274, 6300}, {456, 221, 7600}, {542, 276, 6400}, {397, 246, 6000}, {394, 254, 5100}};

// Multiply-adds of a cycle that a multiprocessor's tensor cores reach, half into float32.
inline double tensor_rate(int capability) {
  if (capability == 80) return 1024;
  if (capability == 90 || capability == 100) return 1270;  // mma.sync: 62 % of what wgmma reaches
  return 512;
}

// Of all cycles, those in which `warps` of a multiprocessor hide each other's waiting.
inline double efficiency(int warps) { return warps / (warps + 3.0); }

// Cycles of a multiprocessor for one k-tile of one block, if nothing ever waits: the busiest of its parts.
template <typename Tile>
double busy_cycles(int capability, int instructions, int store_passes = 1) {
  // Bytes through shared memory and first-level cache, of which 128 pass in a cycle.
  const double rows = Tile::kRows * Tile::kTileK * 2, columns = Tile::kColumns * Tile::kTileK * 2;
  const double fragments = rows * Tile::kWarpsN + columns * Tile::kWarpsM;
  const double read = 4 * rows + columns, stored = (rows + columns) * store_passes;
  // wmma's rows r and r + 8 share banks. Its weights pass through registers, and are counted as read and as
  // stored; an asynchronous copy stores only.
  const double bytes = capability >= 80 ? 4 * rows + stored + fragments : read + stored + 2 * fragments;
  const double issue = Tile::kThreads / 32 * instructions / 4.0;
  const double tensor = double(Tile::kRows) * Tile::kColumns * Tile::kTileK / tensor_rate(capability);
  return std::max({issue, bytes / 128, tensor});
}

// Cycles of the busiest multiprocessor. blocks: of the kernel that share one, by their registers.
template <typename Tile>
double estimated_cycles(const Arguments& arguments, const Device& device, int blocks, int instructions,
    int once, int store_passes = 1) {
  const int resident =
      resident_blocks(blocks, Tile::shared_bytes(arguments.taps()), device.capability, device.shared_bytes);
  const double busy = busy_cycles<Tile>(device.capability, instructions, store_passes);
  const int k_tiles = ceil_div(arguments.taps() * arguments.problem.channels, Tile::kTileK);
  const auto together = [&](int number) {
    if (number == 0) return 0.0;
    return once + k_tiles * number * busy / efficiency(number * Tile::kThreads / 32);
  };
  const int multiprocessors = device.multiprocessors > 0 ? device.multiprocessors : 1;
  const int64_t of_one = (Tile::blocks(arguments) + multiprocessors - 1) / multiprocessors;
  return double(of_one / resident) * together(resident) + together(int(of_one % resident));
}

inline double estimated_cycles(const Arguments& arguments, const Device& device, int tile) {
  return with_tile(tile, [&](auto which) {
    using Tile = decltype(which);
    const TileCost& cost = kTileCosts[tile];
    const bool from_80 = device.capability >= 80;
    return estimated_cycles<Tile>(arguments, device, Tile::blocks_per_multiprocessor(device.capability),
        from_80 ? cost.instructions_from_80 : cost.instructions_before_80, cost.once);
  });
}

// The tile of the lowest estimate.
inline int choose_tile(const Arguments& arguments, const Device& device) {
  int best = 0;
  for (int tile = 1; tile < kTiles; ++tile) {
    if (estimated_cycles(arguments, device, tile) < estimated_cycles(arguments, device, best)) best = tile;
  }
  return best;
}

}  // namespace pssdet::dcnv2
