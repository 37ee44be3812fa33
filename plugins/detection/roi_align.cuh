// RoIAlign on the pyramid level that fits each region: a block computes 64 channels of one (docs/kernels.md).
#pragma once

#include "../device/launch.h"
#include "detection.h"

namespace pssdet::roi_align {

// A region's level, and its samples along one axis: rounded after every step, in the order of the ONNX function
// and of ONNX Runtime's RoiAlign, so that every decision is theirs.

constexpr float kFarthest = 1e9f;      // pixels; what infinity becomes
constexpr float kSizeEpsilon = 1e-6f;  // added to a relative size, as the originals did

struct Region {
  float x1, y1, x2, y2;
};

PSSDET_DEVICE float finite(float value) {
  if (value != value) return 0.0f;
  return value > kFarthest ? kFarthest : value < -kFarthest ? -kFarthest : value;
}

// Source: distribute_fpn_proposals of PaddlePaddle, with comparisons instead of a logarithm.
// An inverted region is on level 0.
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

  // The samples of a bin that count: those at most one cell outside of the map. Positions rise, or fall if the
  // region is inverted, so these are neighbours; they are at most two per cell and bin, however large a region
  // is with adaptive sampling.
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
PSSDET_DEVICE Axis axis_of(
    const pssdet_roi_align_problem& problem, float from, float to, int32_t stride, int32_t cells) {
  const float shift = problem.aligned ? 0.5f : 0.0f;
  const float start = sub_rn(div_rn(from, float(stride)), shift),
              end = sub_rn(div_rn(to, float(stride)), shift);
  float extent = sub_rn(end, start);
  if (!problem.aligned && !(extent > 1.0f)) extent = 1.0f;
  const float bin = div_rn(extent, float(problem.output_size));
  return {start, bin, problem.sampling_ratio ? problem.sampling_ratio : int32_t(std::ceil(bin)), cells};
}

constexpr int kRoiThreads = 224;  // 64 channels of 7 x 7 bins are 14 values for each
constexpr int kRoiChannels = 64;  // of a block
constexpr int kRoiTable = 256;    // samples per axis that are kept; more are worked out where they are needed
constexpr int kRoiSlice = 64;     // bins of a pass, NHWC

struct RoiAlignArguments {
  pssdet_roi_align_problem problem;
  const void* maps[PSSDET_MAX_LEVELS];
  const float* rois;
  void* features;
  float bounds[PSSDET_MAX_LEVELS];  // see level_of
  int32_t channel_pitch;            // of the maps, NHWC: values between two pixels
  int32_t parts;                    // blocks of a region
};

struct RoiPlaces {
  Axis axes[2];  // y, x
  int32_t level;
  int32_t first[2][PSSDET_MAX_OUTPUT_SIZE], end[2][PSSDET_MAX_OUTPUT_SIZE];
  Sample samples[2][kRoiTable];
};

template <bool ChannelsLast>
struct RoiShared : RoiPlaces {};

template <>
struct RoiShared<true> : RoiPlaces {
  half results[kRoiChannels * kRoiSlice];
};

template <typename T, bool ChannelsLast>
class RoiAlign : public LaunchBounds<kRoiThreads, 4>, public StaticShared<RoiShared<ChannelsLast>> {
 public:
  using Arguments = RoiAlignArguments;
  static int64_t blocks(const Arguments& arguments) {
    return int64_t(arguments.problem.batch) * arguments.problem.regions * arguments.parts;
  }

  PSSDET_DEVICE RoiAlign(const RoiAlignArguments& arguments, RoiShared<ChannelsLast>& shared)
      : arguments_(arguments), problem_(arguments.problem), shared_(shared), size_(problem_.output_size),
        bins_(size_ * size_) {
    region_ = int32_t(blockIdx.x / unsigned(arguments.parts));
    image_ = region_ / problem_.regions;
    first_channel_ = int32_t(blockIdx.x % unsigned(arguments.parts)) * kRoiChannels;
    channels_ =
        problem_.channels - first_channel_ < kRoiChannels ? problem_.channels - first_channel_ : kRoiChannels;
  }

  PSSDET_DEVICE void run() {
    locate();
    if constexpr (ChannelsLast) {
      run_channels_last(shared_.results);
    } else {
      run_channels_first();
    }
  }

 private:
  // Before anything else, by all threads.
  PSSDET_DEVICE void locate() {
    const int thread = threadIdx.x;
    if (thread < 2 * size_) find_axis(thread / size_, thread % size_);
    __syncthreads();
    for (int way = 0; way < 2; ++way) {
      if (!is_kept(way)) continue;
      const Axis axis = shared_.axes[way];
      for (int i = thread; i < size_ * axis.grid; i += kRoiThreads) {
        shared_.samples[way][i] = axis.sample(i / axis.grid, i % axis.grid);
      }
    }
    kept_[0] = is_kept(0);
    kept_[1] = is_kept(1);
    const float count = float(shared_.axes[0].grid) * float(shared_.axes[1].grid);
    count_ = shared_.axes[0].grid > 0 && count > 1.0f ? count : 1.0f;
    height_ = shared_.axes[0].cells;
    width_ = shared_.axes[1].cells;
    __syncthreads();
  }

  PSSDET_DEVICE void run_channels_first() const {
    const T* image = static_cast<const T*>(arguments_.maps[shared_.level]) +
        (int64_t(image_) * problem_.channels + first_channel_) * height_ * width_;
    T* features =
        static_cast<T*>(arguments_.features) + (int64_t(region_) * problem_.channels + first_channel_) * bins_;
    for (int i = threadIdx.x; i < channels_ * bins_; i += kRoiThreads) {
      const int channel = i / bins_, bin = i % bins_;
      const T* plane = image + int64_t(channel) * height_ * width_;
      float sum = 0.0f;
      each_sample(bin, [&](int corner, int right, int down, const float (&weight)[4]) {
        const T* at = plane + corner;
        sum += weight[0] * to_float(at[0]) + weight[1] * to_float(at[right]) + weight[2] * to_float(at[down]) +
            weight[3] * to_float(at[down + right]);
      });
      from_float(sum / count_, features + i);
    }
  }

  // Halves, eight channels at a time.
  PSSDET_DEVICE void run_channels_last(half* results) const {
    constexpr int kGroups = kRoiChannels / 8;
    const half* image = static_cast<const half*>(arguments_.maps[shared_.level]) +
        int64_t(image_) * height_ * width_ * arguments_.channel_pitch + first_channel_;
    half* features = static_cast<half*>(arguments_.features) +
        (int64_t(region_) * problem_.channels + first_channel_) * bins_;
    for (int first = 0; first < bins_; first += kRoiSlice) {
      const int slice = bins_ - first < kRoiSlice ? bins_ - first : kRoiSlice;
      for (int i = threadIdx.x; i < slice * kGroups; i += kRoiThreads) {
        const int channel = i % kGroups * 8, bin = i / kGroups;
        if (channel < channels_)
          eight_channels(image + channel, first + bin, results + channel * slice + bin, slice);
      }
      __syncthreads();
      for (int i = threadIdx.x; i < channels_ * slice; i += kRoiThreads) {
        features[i / slice * bins_ + first + i % slice] = results[i];
      }
      __syncthreads();
    }
  }

  PSSDET_DEVICE void find_axis(int way, int bin) {
    const float* roi = arguments_.rois + int64_t(region_) * 4;
    const Region region = {finite(roi[0]), finite(roi[1]), finite(roi[2]), finite(roi[3])};
    const pssdet_pyramid& pyramid = problem_.pyramid;
    const int level = level_of(problem_, arguments_.bounds, region), stride = pyramid.strides[level];
    const Axis axis = way == 0 ? axis_of(problem_, region.y1, region.y2, stride, pyramid.height[level])
                               : axis_of(problem_, region.x1, region.x2, stride, pyramid.width[level]);
    axis.range(bin, &shared_.first[way][bin], &shared_.end[way][bin]);
    if (bin == 0) shared_.axes[way] = axis;
    if (bin == 0 && way == 0) shared_.level = level;
  }

  PSSDET_DEVICE bool is_kept(int way) const { return shared_.axes[way].grid <= kRoiTable / size_; }

  PSSDET_DEVICE Sample sample(int way, int bin, int i) const {
    const Axis& axis = shared_.axes[way];
    return kept_[way] ? shared_.samples[way][bin * axis.grid + i] : axis.sample(bin, i);
  }

  // visit(the top left cell's place, from it to the right one, from it to the one below, the four corners'
  // weights) for every sample of a bin that counts.
  template <typename Visit>
  PSSDET_DEVICE void each_sample(int bin, const Visit& visit) const {
    const int row = bin / size_, column = bin % size_;
    for (int r = shared_.first[0][row]; r < shared_.end[0][row]; ++r) {
      const Sample y = sample(0, row, r);
      for (int c = shared_.first[1][column]; c < shared_.end[1][column]; ++c) {
        const Sample x = sample(1, column, c);
        const float high = 1.0f - y.next, left = 1.0f - x.next;
        visit(y.cell * width_ + x.cell, x.step, y.step * width_,
            {high * left, high * x.next, y.next * left, y.next * x.next});
      }
    }
  }

  // to: place of the first channel's result; the next one's is `pitch` further.
  PSSDET_DEVICE void eight_channels(const half* image, int bin, half* to, int pitch) const {
    const int step = arguments_.channel_pitch;
    float sums[8] = {};
    each_sample(bin, [&](int corner, int right, int down, const float (&weight)[4]) {
      const half* at = image + corner * step;
      add8(at, weight[0], sums);
      add8(at + right * step, weight[1], sums);
      add8(at + down * step, weight[2], sums);
      add8(at + (down + right) * step, weight[3], sums);
    });
#pragma unroll
    for (int i = 0; i < 8; ++i) to[i * pitch] = __float2half_rn(sums[i] / count_);
  }

  static PSSDET_DEVICE void add8(const half* from, float weight, float (&sums)[8]) {
    const Half8 values = load8(reinterpret_cast<const Half8*>(from));
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 pair = __half22float2(values.pair[i]);
      sums[2 * i] += weight * pair.x;
      sums[2 * i + 1] += weight * pair.y;
    }
  }

  const RoiAlignArguments& arguments_;
  const pssdet_roi_align_problem& problem_;
  RoiShared<ChannelsLast>& shared_;
  const int size_, bins_;
  int region_, image_, first_channel_, channels_;
  int height_ = 0, width_ = 0;
  bool kept_[2] = {};
  float count_ = 1.0f;
};

}  // namespace pssdet::roi_align
