// Where RoIAlign reads: a region's level, and its samples along one axis. In float32 and rounded after every step, in the order of
// the ONNX function and of ONNX Runtime's RoiAlign, so that every decision is theirs.
#pragma once

#include <cmath>

#include "../device/arithmetic.h"
#include "detection.h"

namespace pssdet::roi_align {

constexpr float kFarthest = 1e9f;      // pixels; what infinity becomes
constexpr float kSizeEpsilon = 1e-6f;  // added to a relative size, as the originals did

struct Region {
  float x1, y1, x2, y2;
};

PSSDET_DEVICE float finite(float value) {
  if (value != value) return 0.0f;
  return value > kFarthest ? kFarthest : value < -kFarthest ? -kFarthest : value;
}

// Source: distribute_fpn_proposals of PaddlePaddle, with comparisons instead of a logarithm. An inverted region is on level 0.
//   bounds: relative sizes from which on a region is of level i or a later one; the first is not used.
PSSDET_DEVICE int level_of(const pssdet_roi_align_problem& problem, const float* bounds, const Region& region) {
  float area = 0.0f;
  if (region.x2 >= region.x1 && region.y2 >= region.y1) {
    const float width = add_rn(sub_rn(region.x2, region.x1), problem.pixel_offset);
    area = mul_rn(width, add_rn(sub_rn(region.y2, region.y1), problem.pixel_offset));
  }
  const float relative = add_rn(div_rn(sqrt_rn(area), problem.canonical_size), kSizeEpsilon);
  int level = 0;
  for (int i = 1; i < problem.pyramid.levels; ++i) level += relative >= bounds[i];
  return level;
}

// A sample along one axis: between a cell and the next one, which is the same at the map's end.
struct Sample {
  int32_t cell;
  int32_t step;  // to the next cell: 0 or 1
  float next;    // the next cell's weight
};

// One axis of a region on its level: `bins` bins with `grid` samples each, on a map of `cells` cells.
struct Axis {
  float start, bin;  // in cells
  int32_t grid;
  int32_t cells;

  PSSDET_DEVICE float position(int number, int i) const {
    const float within = div_rn(mul_rn(add_rn(float(i), 0.5f), bin), float(grid));
    return add_rn(add_rn(start, mul_rn(float(number), bin)), within);
  }

  // The samples of a bin that count: those at most one cell outside of the map. Positions rise, or fall if the region is
  // inverted, so these are neighbours; they are at most two per cell and bin, however large a region is with adaptive sampling.
  PSSDET_DEVICE void range(int number, int* first, int* end) const {
    const float edge = float(cells);
    if (bin < 0.0f) {
      *first = leading(number, [edge](float at) { return at > edge; });
      *end = leading(number, [](float at) { return at >= -1.0f; });
    } else {
      *first = leading(number, [](float at) { return at < -1.0f; });
      *end = leading(number, [edge](float at) { return at <= edge; });
    }
  }

  PSSDET_DEVICE Sample sample(int number, int i) const {
    const float at = position(number, i);
    if (!(at > 0.0f)) return {0, cells > 1, 0.0f};
    const int cell = int(at);
    if (cell >= cells - 1) return {cells - 1, 0, 0.0f};
    return {cell, 1, sub_rn(at, float(cell))};
  }

 private:
  // How many samples of the bin there are until one is not `within`, after which none is.
  template <typename Within>
  PSSDET_DEVICE int leading(int number, const Within& within) const {
    int low = 0, high = grid;
    while (low < high) {
      const int middle = low + (high - low) / 2;
      if (within(position(number, middle))) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
};

// from, to: the region's sides in pixels of the network's input.
PSSDET_DEVICE Axis axis_of(const pssdet_roi_align_problem& problem, float from, float to, int32_t stride, int32_t cells) {
  const float shift = problem.aligned ? 0.5f : 0.0f;
  const float start = sub_rn(div_rn(from, float(stride)), shift), end = sub_rn(div_rn(to, float(stride)), shift);
  float extent = sub_rn(end, start);
  if (!problem.aligned && !(extent > 1.0f)) extent = 1.0f;
  const float bin = div_rn(extent, float(problem.output_size));
  return {start, bin, problem.sampling_ratio ? problem.sampling_ratio : int32_t(std::ceil(bin)), cells};
}

}  // namespace pssdet::roi_align
