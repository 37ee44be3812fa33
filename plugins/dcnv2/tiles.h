// The tiles of the fused kernel, largest first, and which of them a problem gets.
#pragma once

#include <cstdint>

#include "fused_kernel.cuh"

namespace pssdet::dcnv2 {

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
      return tile.kColumns <= arguments.problem.out_channels && Fused<decltype(tile)>::blocks(arguments) >= multiprocessors;
    });
    if (suits) return number;
  }
  return kTiles - 1;
}

}  // namespace pssdet::dcnv2
