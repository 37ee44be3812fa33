// The general kernel: every type, layout, kernel size and grouping, in float32. A block computes 64 pixels of
// an image by 64 output channels of a group, 16 channels of a tap at a time.
#pragma once

#include "../device/launch.h"
#include "arguments.h"

namespace pssdet::dcnv2 {

constexpr int kDirectTile = 64;
constexpr int kDirectDepth = 16;
constexpr int kDirectThreads = 256;

struct DirectShared {
  Corners<float> corners[kDirectTile];
  float samples[kDirectDepth][kDirectTile];
  float weights[kDirectDepth][kDirectTile + 1];
};

template <typename T, bool ChannelsLast>
class Direct : public LaunchBounds<kDirectThreads, 2>, public StaticShared<DirectShared> {
 public:
  using Arguments = dcnv2::Arguments;
  static int64_t blocks(const Arguments& arguments) {
    const pssdet_dcnv2_problem& problem = arguments.problem;
    return int64_t(problem.batch) * ceil_div(arguments.pixels(), kDirectTile) * problem.groups *
        ceil_div(problem.out_channels / problem.groups, kDirectTile);
  }

  PSSDET_DEVICE Direct(const Arguments& arguments, DirectShared& shared)
      : arguments_(arguments), problem_(arguments.problem), shared_(shared) {
    const int pixels = problem_.height * problem_.width, out_pixels = arguments.pixels();
    if (ChannelsLast) {
      in_ = Strides::nhwc(arguments.channel_pitch, pixels);
      out_ = Strides::nhwc(arguments.out_channel_pitch, out_pixels);
    } else {
      in_ = Strides::nchw(problem_.channels, pixels);
      out_ = Strides::nchw(problem_.out_channels, out_pixels);
    }
    const int out_per_group = problem_.out_channels / problem_.groups;
    const int pixel_tiles = ceil_div(out_pixels, kDirectTile),
              channel_tiles = ceil_div(out_per_group, kDirectTile);
    int block = blockIdx.x;
    first_pixel_ = block % pixel_tiles * kDirectTile;
    block /= pixel_tiles;
    group_ = block / channel_tiles % problem_.groups;
    first_channel_ = group_ * out_per_group + block % channel_tiles * kDirectTile;
    end_channel_ = (group_ + 1) * out_per_group;
    image_ = block / (channel_tiles * problem_.groups);
  }

  PSSDET_DEVICE void run() {
    const int per_group = problem_.channels / problem_.groups,
              per_offset_group = problem_.channels / problem_.offset_groups;
    const int end = (group_ + 1) * per_group;
    for (int from = group_ * per_group; from < end;) {
      // Channels of one offset group are sampled at the same places.
      const int offset_group = from / per_offset_group, to = min((offset_group + 1) * per_offset_group, end);
      for (int tap = 0; tap < arguments_.taps(); ++tap) {
        if (threadIdx.x < kDirectTile) find_corners(offset_group, tap);
        for (int channel = from; channel < to; channel += kDirectDepth) {
          __syncthreads();
          read_samples(channel, to);
          read_weights(tap, channel - group_ * per_group, to - group_ * per_group, per_group);
          __syncthreads();
          multiply();
        }
        __syncthreads();
      }
      from = to;
    }
    write();
  }

 private:
  static PSSDET_DEVICE int min(int a, int b) { return a < b ? a : b; }

  PSSDET_DEVICE void find_corners(int offset_group, int tap) {
    const int pixel = first_pixel_ + int(threadIdx.x);
    Corners<float> found = {0, 0, 0, 0, {0, 0, 0, 0}};
    if (pixel < arguments_.pixels())
      found = arguments_.corners(arguments_.pixel(image_, pixel), offset_group, tap);
    shared_.corners[threadIdx.x] = found;
  }

  PSSDET_DEVICE void read_samples(int channel, int end) {
    const T* x = static_cast<const T*>(arguments_.x);
    const int column = threadIdx.x % kDirectTile;
    const Corners<float>& corners = shared_.corners[column];
    const int top = corners.y * problem_.width + corners.x, bottom = top + corners.down * problem_.width;
    for (int k = threadIdx.x / kDirectTile; k < kDirectDepth; k += kDirectThreads / kDirectTile) {
      float value = 0.0f;
      if (channel + k < end) {
        value = corners.weight[0] * to_float(x[in_.at(image_, channel + k, top)]);
        value += corners.weight[1] * to_float(x[in_.at(image_, channel + k, top + corners.right)]);
        value += corners.weight[2] * to_float(x[in_.at(image_, channel + k, bottom)]);
        value += corners.weight[3] * to_float(x[in_.at(image_, channel + k, bottom + corners.right)]);
      }
      shared_.samples[k][column] = value;
    }
  }

  // channel, end and depth count within the group.
  PSSDET_DEVICE void read_weights(int tap, int channel, int end, int depth) {
    const T* weight = static_cast<const T*>(arguments_.weight);
    const int k = threadIdx.x % kDirectDepth;
    for (int column = threadIdx.x / kDirectDepth; column < kDirectTile;
        column += kDirectThreads / kDirectDepth) {
      const int out = first_channel_ + column;
      const bool exists = out < end_channel_ && channel + k < end;
      shared_.weights[k][column] =
          exists ? to_float(weight[(int64_t(out) * arguments_.taps() + tap) * depth + channel + k]) : 0.0f;
    }
  }

  PSSDET_DEVICE void multiply() {
    for (int k = 0; k < kDirectDepth; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j)
          sums_[i][j] += shared_.samples[k][row() + 16 * i] * shared_.weights[k][column() + 16 * j];
      }
    }
  }

  PSSDET_DEVICE void write() const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int pixel = first_pixel_ + row() + 16 * i, channel = first_channel_ + column() + 16 * j;
        if (pixel >= arguments_.pixels() || channel >= end_channel_) continue;
        float sum = sums_[i][j] + (arguments_.bias ? arguments_.bias[channel] : 0.0f);
        if (arguments_.relu && sum < 0.0f) sum = 0.0f;
        from_float(sum, static_cast<T*>(arguments_.y) + out_.at(image_, channel, pixel));
      }
    }
  }

  // Neighbouring threads have neighbouring pixels, which NCHW stores side by side.
  static PSSDET_DEVICE int row() { return threadIdx.x % 16; }
  static PSSDET_DEVICE int column() { return threadIdx.x / 16; }

  const Arguments& arguments_;
  const pssdet_dcnv2_problem& problem_;
  DirectShared& shared_;
  Strides in_, out_;
  int image_, group_, first_pixel_, first_channel_, end_channel_;
  float sums_[4][4] = {};
};

}  // namespace pssdet::dcnv2
