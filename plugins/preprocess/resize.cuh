// Resizing, normalising and padding: a block computes a tile of the result, a thread one of its pixels, all three channels.
//
// What a tile's rows and columns read is worked out once, and so is what each of the 256 values of a pixel becomes when it is normalised.
#pragma once

#include "../device/launch.h"
#include "interpolation.h"
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
      shared_.normalised[channel][i % 256] = div_rn(sub_rn(unit, problem_.mean[channel]), problem_.std[channel]);
    }
  }

  static PSSDET_DEVICE Taps taps(int32_t index, double scale, int32_t pixels, bool along_row) {
    if (Cubic) return cubic_taps(index, scale, pixels);
    return kFixed ? fixed_taps(index, scale, pixels, along_row) : linear_taps(index, scale, pixels);
  }

  PSSDET_DEVICE float value(const Taps& rows, const Taps& columns, int channel) const {
    if (NormaliseFirst) return interpolated(rows, columns, channel);
    const int32_t level = kFixed ? fixed(rows, columns, channel) : int32_t(std::rint(interpolated(rows, columns, channel)));
    return shared_.normalised[channel][clamp(level, 255)];
  }

  PSSDET_DEVICE float interpolated(const Taps& rows, const Taps& columns, int channel) const {
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < kTaps; ++i) {
      float of_row = 0.0f;
#pragma unroll
      for (int j = 0; j < kTaps; ++j) {
        const int pixel = pixel_at(rows.pixel[i], columns.pixel[j], channel);
        of_row += columns.weight[j] * (NormaliseFirst ? shared_.normalised[channel][pixel] : float(pixel));
      }
      sum += rows.weight[i] * of_row;
    }
    return sum;
  }

  // OpenCV's arithmetic for 8-bit pixels: products of 11 and 8 bits, cut to 15 before they are multiplied again.
  PSSDET_DEVICE int32_t fixed(const Taps& rows, const Taps& columns, int channel) const {
    int32_t sum = 2;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      int32_t of_row = 0;
#pragma unroll
      for (int j = 0; j < 2; ++j) of_row += int32_t(columns.weight[j]) * pixel_at(rows.pixel[i], columns.pixel[j], channel);
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
