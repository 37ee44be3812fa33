// The general kernel: every type, layout, kernel size and grouping, in float32. A block computes 64 pixels of
// an image by up to 64 output channels, of one group or of several small ones, a few channels of a tap at a
// time.
#pragma once

#include "../device/launch.h"
#include "arguments.h"

namespace pssdet::dcnv2 {

constexpr int kDirectTile = 64;       // pixels, output channels, and channels sampled at once, of a block
constexpr int kDirectMostDepth = 16;  // channels of one group sampled at once
constexpr int kDirectThreads = 256;

// The groups that a block computes together: of one offset group, and of 64 output channels at most. A block of
// one group of 8 channels would multiply zeros in seven of eight products.
struct DirectShare {
  int32_t groups;
  int32_t depth_shift;    // log2 of the channels of each that are sampled at once
  int32_t samples_shift;  // log2 of all that are, rounded up

  static DirectShare of(const pssdet_dcnv2_problem& problem) {
    const int32_t inputs = problem.channels / problem.groups, outputs = problem.out_channels / problem.groups;
    const int32_t alike = problem.channels / problem.offset_groups;
    const int32_t together = alike % inputs == 0 ? alike / inputs : 1;
    DirectShare share = {kDirectTile / outputs, 0, 0};
    if (share.groups > together) share.groups = together;
    while (share.groups > 1 && together % share.groups != 0) --share.groups;
    if (share.groups < 1) share.groups = 1;
    const auto fits = [&](int32_t depth) {
      return depth <= kDirectMostDepth && depth * share.groups <= kDirectTile && depth < 2 * inputs;
    };
    while (fits(2 << share.depth_shift)) ++share.depth_shift;
    while (1 << share.samples_shift < share.groups << share.depth_shift) ++share.samples_shift;
    return share;
  }
};

struct DirectArguments {
  Arguments of;
  DirectShare share;
};

struct DirectShared {
  Corners<float> corners[kDirectTile];
  float samples[kDirectTile][kDirectTile + 1];  // [channel][pixel]
  alignas(16) float weights[kDirectMostDepth][kDirectTile + 4];
};

template <typename T, bool ChannelsLast>
class Direct : public LaunchBounds<kDirectThreads, 2>, public StaticShared<DirectShared> {
 public:
  using Arguments = DirectArguments;
  static int64_t blocks(const DirectArguments& arguments) {
    const pssdet_dcnv2_problem& problem = arguments.of.problem;
    const int outputs = problem.out_channels / problem.groups * arguments.share.groups;
    return int64_t(problem.batch) * ceil_div(arguments.of.pixels(), kDirectTile) *
        (problem.groups / arguments.share.groups) * ceil_div(outputs, kDirectTile);
  }

  PSSDET_DEVICE Direct(const DirectArguments& arguments, DirectShared& shared)
      : arguments_(arguments.of), problem_(arguments.of.problem), share_(arguments.share), shared_(shared),
        inputs_(problem_.channels / problem_.groups) {
    const int pixels = problem_.height * problem_.width, out_pixels = arguments_.pixels();
    if (ChannelsLast) {
      in_ = Strides::nhwc(arguments_.channel_pitch, pixels);
      out_ = Strides::nhwc(arguments_.out_channel_pitch, out_pixels);
    } else {
      in_ = Strides::nchw(problem_.channels, pixels);
      out_ = Strides::nchw(problem_.out_channels, out_pixels);
    }
    const int of_group = problem_.out_channels / problem_.groups, of_share = of_group * share_.groups;
    const int pixel_tiles = ceil_div(out_pixels, kDirectTile), channel_tiles = ceil_div(of_share, kDirectTile);
    const int shares = problem_.groups / share_.groups;
    int block = blockIdx.x;
    first_pixel_ = block % pixel_tiles * kDirectTile;
    block /= pixel_tiles;
    first_group_ = block / channel_tiles % shares * share_.groups;
    first_channel_ = first_group_ * of_group + block % channel_tiles * kDirectTile;
    end_channel_ = first_group_ * of_group + of_share;
    image_ = block / (channel_tiles * shares);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int group = share_.groups == 1 ? 0 : min((column() + j) / of_group, share_.groups - 1);
      first_sample_[j] = group << share_.depth_shift;
    }
  }

  PSSDET_DEVICE void run() {
    const int per_offset_group = problem_.channels / problem_.offset_groups;
    const int first = first_group_ * inputs_, end = first + inputs_;  // of the first group; the others go along
    for (int from = first; from < end;) {
      // Channels of one offset group are sampled at the same places.
      const int offset_group = from / per_offset_group, to = min((offset_group + 1) * per_offset_group, end);
      for (int tap = 0; tap < arguments_.taps(); ++tap) {
        if (threadIdx.x < kDirectTile) find_corners(offset_group, tap);
        for (int channel = from; channel < to; channel += 1 << share_.depth_shift) {
          __syncthreads();
          read_samples(channel, to);
          read_weights(tap, channel - first, to - first);
          __syncthreads();
          if (first_sample_[0] == first_sample_[3]) {
            multiply<true>();
          } else {
            multiply<false>();
          }
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

  // channel, end: of the first group. Neighbouring threads read what lies side by side.
  PSSDET_DEVICE void read_samples(int channel, int end) {
    const int samples = 1 << share_.samples_shift;
    for (int task = threadIdx.x; task < samples * kDirectTile; task += kDirectThreads) {
      const int sample = ChannelsLast ? task & (samples - 1) : task / kDirectTile;
      const int pixel = ChannelsLast ? task >> share_.samples_shift : task % kDirectTile;
      const int group = sample >> share_.depth_shift, k = sample - (group << share_.depth_shift);
      if (group >= share_.groups) continue;
      shared_.samples[sample][pixel] =
          channel + k < end ? sampled(shared_.corners[pixel], channel + group * inputs_ + k) : 0.0f;
    }
  }

  PSSDET_DEVICE float sampled(const Corners<float>& corners, int channel) const {
    const T* plane = static_cast<const T*>(arguments_.x) + in_.at(image_, channel, 0);
    const int64_t first = int64_t(corners.y * problem_.width + corners.x) * in_.step;
    const int64_t right = corners.right * in_.step, down = int64_t(corners.down * problem_.width) * in_.step;
    float value = corners.weight[0] * to_float(plane[first]);
    value += corners.weight[1] * to_float(plane[first + right]);
    value += corners.weight[2] * to_float(plane[first + down]);
    value += corners.weight[3] * to_float(plane[first + down + right]);
    return value;
  }

  // channel, end: counted within the group.
  PSSDET_DEVICE void read_weights(int tap, int channel, int end) {
    const T* weight = static_cast<const T*>(arguments_.weight);
    const int k = threadIdx.x & ((1u << share_.depth_shift) - 1);
    for (int column = threadIdx.x >> share_.depth_shift; column < kDirectTile;
        column += kDirectThreads >> share_.depth_shift) {
      const int out = first_channel_ + column;
      const bool exists = out < end_channel_ && channel + k < end;
      shared_.weights[k][column] =
          exists ? to_float(weight[(int64_t(out) * arguments_.taps() + tap) * inputs_ + channel + k]) : 0.0f;
    }
  }

  // OneGroup: the thread's four channels are of one.
  template <bool OneGroup>
  PSSDET_DEVICE void multiply() {
#pragma unroll 4
    for (int k = 0; k < 1 << share_.depth_shift; ++k) {
      const float4 four = *reinterpret_cast<const float4*>(&shared_.weights[k][column()]);
      const float weight[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j)
          sums_[i][j] += shared_.samples[first_sample_[OneGroup ? 0 : j] + k][row() + 16 * i] * weight[j];
      }
    }
  }

  PSSDET_DEVICE void write() const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int pixel = first_pixel_ + row() + 16 * i, channel = first_channel_ + column() + j;
        if (pixel >= arguments_.pixels() || channel >= end_channel_) continue;
        float sum = sums_[i][j] + (arguments_.bias ? arguments_.bias[channel] : 0.0f);
        if (arguments_.relu && sum < 0.0f) sum = 0.0f;
        from_float(sum, static_cast<T*>(arguments_.y) + out_.at(image_, channel, pixel));
      }
    }
  }

  // Neighbouring threads have neighbouring pixels, which NCHW stores side by side.
  static PSSDET_DEVICE int row() { return threadIdx.x % 16; }
  static PSSDET_DEVICE int column() { return threadIdx.x / 16 * 4; }

  const dcnv2::Arguments& arguments_;
  const pssdet_dcnv2_problem& problem_;
  const DirectShare& share_;
  DirectShared& shared_;
  const int inputs_;  // channels of a group
  Strides in_, out_;
  int image_, first_group_, first_pixel_, first_channel_, end_channel_;
  int first_sample_[4];  // for each of the thread's channels, of its group
  float sums_[4][4] = {};
};

}  // namespace pssdet::dcnv2
