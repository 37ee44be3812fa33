// The samples of the fused kernel: where a tile's pixels read, and the k-tiles of what they read
// (docs/kernels.md).
#pragma once

#include "tile.cuh"

namespace pssdet::dcnv2 {

// For each tap and pixel of a tile: the weights of the four corners, times the mask; and the place of the top
// left one, times four, with a bit each for whether there is a row below and a column to the right.
template <typename Tile>
class GatherTable {
 public:
  PSSDET_DEVICE GatherTable(unsigned char* shared, int taps)
      : weights_(reinterpret_cast<float4*>(shared)),
        places_(reinterpret_cast<uint32_t*>(weights_ + taps * Tile::kRows)) {}

  // By all threads of the block; a barrier must follow.
  PSSDET_DEVICE void build(const Arguments& arguments, int first_row) const {
    const pssdet_dcnv2_problem& problem = arguments.problem;
    const int pixels = arguments.pixels(), row = first_row + int(threadIdx.x) % Tile::kRows, n = row / pixels;
    const bool exists = row < problem.batch * pixels;
    const OutputPixel at = arguments.pixel(n, row - n * pixels);
    for (int entry = threadIdx.x; entry < arguments.taps() * Tile::kRows; entry += Tile::kThreads) {
      float4 weight = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      uint32_t place = 0;
      if (exists) {
        const Corners<float> corners = arguments.corners(at, 0, entry / Tile::kRows);
        weight = make_float4(corners.weight[0], corners.weight[1], corners.weight[2], corners.weight[3]);
        const int pixel = (n * problem.height + corners.y) * problem.width + corners.x;
        place = uint32_t(pixel << 2 | corners.down << 1 | corners.right);
      }
      weights_[entry] = weight;
      places_[entry] = place;
    }
  }

  PSSDET_DEVICE float4 weights(int entry) const { return weights_[entry]; }
  PSSDET_DEVICE uint32_t place(int entry) const { return places_[entry]; }

 private:
  float4* weights_;
  uint32_t* places_;
};

// The place of the top left corner and how far the others are, in eights of values, for which 32 bits are
// enough: one instruction makes an address.
struct CornerPlaces {
  uint32_t first, right, down;

  // column: in eights of values, from the pixel's first.
  static PSSDET_DEVICE CornerPlaces of(const Arguments& arguments, uint32_t place, uint32_t column) {
    const uint32_t pitch = uint32_t(arguments.channel_pitch) / 8;
    return {(place >> 2) * pitch + column, (place & 1) * pitch,
        (place >> 1 & 1) * (uint32_t(arguments.problem.width) * pitch)};
  }

  PSSDET_DEVICE void read(const Half8* x, Half8 (&corners)[4]) const {
    corners[0] = load8(x + first);
    corners[1] = load8(x + (first + right));
    corners[2] = load8(x + (first + down));
    corners[3] = load8(x + (first + down + right));
  }
};

PSSDET_DEVICE Half8 blend(const Half8 (&corner)[4], float4 weight) {
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

// What a thread samples of the k-tiles, one after the other: read() requests the next one's corners, store()
// blends them. Divided: k-tiles lie within a tap each (Tile::divides).
template <typename Tile, bool Divided>
class Samples;

template <typename Tile>
class Samples<Tile, false> {
 public:
  PSSDET_DEVICE Samples(const Arguments& arguments, const GatherTable<Tile>& table)
      : arguments_(arguments), table_(table), depth_(arguments.taps() * arguments.problem.channels) {}

  PSSDET_DEVICE void read() {
    const float per_tap = 1.0f / float(arguments_.problem.channels);
#pragma unroll
    for (int i = 0; i < Tile::kSamples; ++i) {
      const int at = next_k_ + Tile::column_of_group();
      // Exact: a half more than a multiple of eight is far enough from both neighbours of the quotient.
      const int tap = int((float(at) + 0.5f) * per_tap);
      entry_[i] = at < depth_ ? tap * Tile::kRows + Tile::row_of_group(i) : -1;
      if (entry_[i] < 0) continue;
      const uint32_t column = uint32_t(at - tap * arguments_.problem.channels) / 8;
      CornerPlaces::of(arguments_, table_.place(entry_[i]), column)
          .read(static_cast<const Half8*>(arguments_.x), corners_[i]);
    }
    next_k_ += Tile::kTileK;
  }

  PSSDET_DEVICE void store(half* to) const {
#pragma unroll
    for (int i = 0; i < Tile::kSamples; ++i) {
      Half8 blended;
      if (entry_[i] >= 0) {
        blended = blend(corners_[i], table_.weights(entry_[i]));
      } else {
#pragma unroll
        for (int pair = 0; pair < 4; ++pair) blended.pair[pair] = __floats2half2_rn(0.0f, 0.0f);
      }
      store8(to + Tile::place_of_group(i), blended);
    }
  }

 private:
  const Arguments& arguments_;
  const GatherTable<Tile>& table_;
  const int depth_;
  int next_k_ = 0;
  int32_t entry_[Tile::kSamples];  // of the table; -1 behind the last k
  Half8 corners_[Tile::kSamples][4];
};

// Places are worked out once per tap; from k-tile to k-tile only the start of x moves on.
template <typename Tile>
class Samples<Tile, true> {
 public:
  PSSDET_DEVICE Samples(const Arguments& arguments, const GatherTable<Tile>& table)
      : arguments_(arguments), table_(table) {}

  PSSDET_DEVICE void read() {
    if (left_ == 0) begin_tap();
    --left_;
#pragma unroll
    for (int i = 0; i < Tile::kSamples; ++i) places_[i].read(x_, corners_[i]);
    x_ += Tile::kTileK / 8;
  }

  PSSDET_DEVICE void store(half* to) const {
#pragma unroll
    for (int i = 0; i < Tile::kSamples; ++i) {
      const float4 weights = table_.weights(first_entry_ + Tile::row_of_group(i));
      store8(to + Tile::place_of_group(i), blend(corners_[i], weights));
    }
  }

 private:
  PSSDET_DEVICE void begin_tap() {
    first_entry_ += Tile::kRows;
#pragma unroll
    for (int i = 0; i < Tile::kSamples; ++i) {
      const uint32_t place = table_.place(first_entry_ + Tile::row_of_group(i));
      places_[i] = CornerPlaces::of(arguments_, place, uint32_t(Tile::column_of_group()) / 8);
    }
    left_ = arguments_.problem.channels / Tile::kTileK;
    x_ = static_cast<const Half8*>(arguments_.x);
  }

  const Arguments& arguments_;
  const GatherTable<Tile>& table_;
  const Half8* x_ = nullptr;
  int first_entry_ = -Tile::kRows, left_ = 0;  // in the table, of this tap; k-tiles that it still has
  CornerPlaces places_[Tile::kSamples];
  Half8 corners_[Tile::kSamples][4];
};

}  // namespace pssdet::dcnv2
