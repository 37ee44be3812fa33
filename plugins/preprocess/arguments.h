// What the preprocessing kernel is told.
#pragma once

#include <cstdint>

#include "../device/device.h"
#include "preprocess.h"

namespace pssdet::preprocess {

// Of the result, a block's part.
constexpr int kTileWidth = 64;
constexpr int kTileHeight = 4;
constexpr int kThreads = kTileWidth * kTileHeight;

struct Arguments {
  pssdet_preprocess_problem problem;
  const uint8_t* pixels;
  float* out;
  int32_t tiles_per_row;
};

// The arguments of a launch, with the number of blocks; PSSDET_BAD_PROBLEM if anything contradicts anything else.
pssdet_status prepare(
    const pssdet_preprocess_problem& problem, const uint8_t* pixels, float* out, Arguments* arguments, uint32_t* blocks);

}  // namespace pssdet::preprocess
