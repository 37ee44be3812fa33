// Resizing, normalising and padding: a block computes a tile of the result, a thread one of its pixels.
#pragma once

#include "../device/launch.h"
#include "preprocess.h"

namespace pssdet::preprocess {

// OpenCV's interpolation along one axis: which pixels, with which weights.

constexpr int kMostTaps = 4;
constexpr float kFixedOne = 2048.0f;  // of fixed-point weights

struct Taps {
  int32_t pixel[kMostTaps];
  float weight[kMostTaps];
};

PSSDET_DEVICE int32_t clamp(int32_t value, int32_t last) { return value < 0 ? 0 : value > last ? last : value; }

// Where the output pixel `index` lies among the picture's pixels: `cell`, and how far from it to the next.
PSSDET_DEVICE double coordinate(int32_t index, double scale) {
  return sub_rn(mul_rn(double(index) + 0.5, scale), 0.5);
}

// Two pixels with weights in float32.
PSSDET_DEVICE Taps linear_taps(int32_t index, double scale, int32_t pixels) {
  const double at = coordinate(index, scale), floor_at = std::floor(at);
  const int32_t cell = int32_t(floor_at);
  const float next = float(at - floor_at);
  return {{clamp(cell, pixels - 1), clamp(cell + 1, pixels - 1)}, {1.0f - next, next}};
}

// Two pixels with whole weights, 2048 for one, from a coordinate in float32. Along a row, OpenCV gives all the
// weight to a border's pixel; along a column it shares it between two equal ones, which is rounded otherwise.
PSSDET_DEVICE Taps fixed_taps(int32_t index, double scale, int32_t pixels, bool along_row) {
  const float at = float(coordinate(index, scale)), floor_at = std::floor(at);
  const int32_t cell = int32_t(floor_at);
  const bool at_border = cell < 0 || cell >= pixels - 1;
  const float next = along_row && at_border ? 0.0f : sub_rn(at, floor_at);
  return {{clamp(cell, pixels - 1), clamp(cell + 1, pixels - 1)},
      {std::rint(mul_rn(sub_rn(1.0f, next), kFixedOne)), std::rint(mul_rn(next, kFixedOne))}};
}

// ((a x + b) x + c) x + d, every step rounded.
PSSDET_DEVICE float polynomial(float x, float a, float b, float c, float d) {
  return add_rn(mul_rn(add_rn(mul_rn(add_rn(mul_rn(a, x), b), x), c), x), d);
}

// Keys' cubic convolution (1981) with A = -0.75; the last weight makes the sum one.
PSSDET_DEVICE Taps cubic_taps(int32_t index, double scale, int32_t pixels) {
  constexpr float kA = -0.75f;
  const double at = coordinate(index, scale), floor_at = std::floor(at);
  const int32_t cell = int32_t(floor_at);
  const float x = float(at - floor_at), y = sub_rn(1.0f, x);
  Taps taps;
  for (int i = 0; i < kMostTaps; ++i) taps.pixel[i] = clamp(cell - 1 + i, pixels - 1);
  const float before = add_rn(x, 1.0f);
  taps.weight[0] = polynomial(before, kA, -5.0f * kA, 8.0f * kA, -4.0f * kA);
  taps.weight[1] = polynomial(x, kA + 2.0f, -(kA + 3.0f), 0.0f, 1.0f);
  taps.weight[2] = polynomial(y, kA + 2.0f, -(kA + 3.0f), 0.0f, 1.0f);
  taps.weight[3] = sub_rn(sub_rn(sub_rn(1.0f, taps.weight[0]), taps.weight[1]), taps.weight[2]);
  return taps;
}

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

struct ResizeShared {
  Taps rows[kTileHeight], columns[kTileWidth];
  float normalised[3][256];
};

template <bool Cubic, bool NormaliseFirst>
class Resize : public LaunchBounds<kThreads, 4>, public StaticShared<ResizeShared> {
 public:
  using Arguments = preprocess::Arguments;
  static int64_t blocks(const Arguments& arguments) {
    return int64_t(arguments.tiles_per_row) * ceil_div(arguments.problem.padded_height, kTileHeight);
  }

  static constexpr int kTaps = Cubic ? 4 : 2;
  static constexpr bool kFixed = !Cubic && !NormaliseFirst;

  PSSDET_DEVICE Resize(const Arguments& arguments, ResizeShared& shared)
      : arguments_(arguments), problem_(arguments.problem), shared_(shared) {
    first_row_ = int32_t(blockIdx.x / unsigned(arguments.tiles_per_row)) * kTileHeight;
    first_column_ = int32_t(blockIdx.x % unsigned(arguments.tiles_per_row)) * kTileWidth;
  }

  PSSDET_DEVICE void run() {
    prepare();
    __syncthreads();
    const int row = threadIdx.x / kTileWidth, column = threadIdx.x % kTileWidth;
    const int32_t y = first_row_ + row, x = first_column_ + column;
    if (y >= problem_.padded_height || x >= problem_.padded_width) return;
    const bool exists = y < problem_.out_height && x < problem_.out_width;
#pragma unroll
    for (int channel = 0; channel < 3; ++channel) {
      const int64_t place = (int64_t(channel) * problem_.padded_height + y) * problem_.padded_width + x;
      arguments_.out[place] = exists ? value(shared_.rows[row], shared_.columns[column], channel) : 0.0f;
    }
  }

 private:
  PSSDET_DEVICE void prepare() {
    const int thread = threadIdx.x;
    if (thread < kTileWidth) {
      shared_.columns[thread] = taps(first_column_ + thread, problem_.scale_x, problem_.width, true);
    } else if (thread < kTileWidth + kTileHeight) {
      const int row = thread - kTileWidth;
      shared_.rows[row] = taps(first_row_ + row, problem_.scale_y, problem_.height, false);
    }
    for (int i = thread; i < 3 * 256; i += kThreads) {
      const int channel = i / 256;
      const float unit = div_rn(float(i % 256), 255.0f);
      shared_.normalised[channel][i % 256] =
          div_rn(sub_rn(unit, problem_.mean[channel]), problem_.std[channel]);
    }
  }

  static PSSDET_DEVICE Taps taps(int32_t index, double scale, int32_t pixels, bool along_row) {
    if (Cubic) return cubic_taps(index, scale, pixels);
    return kFixed ? fixed_taps(index, scale, pixels, along_row) : linear_taps(index, scale, pixels);
  }

  PSSDET_DEVICE float value(const Taps& rows, const Taps& columns, int channel) const {
    if (NormaliseFirst) return interpolated(rows, columns, channel);
    const int32_t level =
        kFixed ? fixed(rows, columns, channel) : int32_t(std::rint(interpolated(rows, columns, channel)));
    return shared_.normalised[channel][clamp(level, 255)];
  }

  // Every step rounds: with products joined to sums, a level half-way between two would be the other one.
  PSSDET_DEVICE float interpolated(const Taps& rows, const Taps& columns, int channel) const {
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < kTaps; ++i) {
      float of_row = 0.0f;
#pragma unroll
      for (int j = 0; j < kTaps; ++j) {
        const int pixel = pixel_at(rows.pixel[i], columns.pixel[j], channel);
        const float value = NormaliseFirst ? shared_.normalised[channel][pixel] : float(pixel);
        of_row = add_rn(of_row, mul_rn(columns.weight[j], value));
      }
      sum = add_rn(sum, mul_rn(rows.weight[i], of_row));
    }
    return sum;
  }

  // OpenCV's arithmetic for 8-bit pixels: products of 11 and 8 bits, cut to 15 before being multiplied again.
  PSSDET_DEVICE int32_t fixed(const Taps& rows, const Taps& columns, int channel) const {
    int32_t sum = 2;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      int32_t of_row = 0;
#pragma unroll
      for (int j = 0; j < 2; ++j)
        of_row += int32_t(columns.weight[j]) * pixel_at(rows.pixel[i], columns.pixel[j], channel);
      sum += (int32_t(rows.weight[i]) * (of_row >> 4)) >> 16;
    }
    return sum >> 2;
  }

  PSSDET_DEVICE int32_t pixel_at(int32_t row, int32_t column, int channel) const {
    return arguments_.pixels[(row * problem_.width + column) * 3 + channel];
  }

  const Arguments& arguments_;
  const pssdet_preprocess_problem& problem_;
  ResizeShared& shared_;
  int32_t first_row_, first_column_;
};

}  // namespace pssdet::preprocess
