// RoIAlign of random regions, and what a plain loop in float64 makes of them.
#pragma once

#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "../detection/detection.h"
#include "tensors.h"

namespace pssdet::test {

constexpr pssdet_roi_align_problem kRoiProblem = {
    2, 9, 20, {4, {24, 12, 6, 3}, {40, 20, 10, 5}, {4, 8, 16, 32}}, 2, 4, 64.0f, 0.0f, 7, 2, 1};

struct RoiSetting {
  const char* name;
  pssdet_dtype type;
  pssdet_layout layout;
  int32_t channels, output_size, sampling_ratio, aligned;
  float pixel_offset;
};

constexpr RoiSetting kRoiSettings[] = {
    {"float32, aligned, 2 samples", PSSDET_F32, PSSDET_NCHW, 20, 7, 2, 1, 0.0f},
    {"float32, adaptive", PSSDET_F32, PSSDET_NCHW, 3, 7, 0, 1, 0.0f},
    {"float32, legacy", PSSDET_F32, PSSDET_NCHW, 5, 7, 2, 0, 1.0f},
    {"float32, legacy, adaptive, 130 channels", PSSDET_F32, PSSDET_NCHW, 130, 4, 0, 0, 1.0f},
    {"half NCHW", PSSDET_F16, PSSDET_NCHW, 66, 7, 2, 1, 0.0f},
    {"half NHWC, adaptive", PSSDET_F16, PSSDET_NHWC, 64, 7, 0, 1, 0.0f},
    {"half NHWC, 75 channels, 14 bins", PSSDET_F16, PSSDET_NHWC, 75, 14, 2, 0, 1.0f},
    {"half NHWC, one channel and bin", PSSDET_F16, PSSDET_NHWC, 1, 1, 3, 1, 0.0f},
};

// Border rule of Detectron's RoIAlign: zero beyond one cell outside, clamped within it.
inline double bilinear(const std::vector<float>& map, size_t plane, int height, int width, double y, double x) {
  if (y < -1 || y > height || x < -1 || x > width) return 0;
  y = std::fmin(std::fmax(y, 0), height - 1);
  x = std::fmin(std::fmax(x, 0), width - 1);
  const int top = int(y), left = int(x), bottom = std::min(top + 1, height - 1),
            right = std::min(left + 1, width - 1);
  const auto at = [&](int row, int column) { return double(map[plane + size_t(row) * width + column]); };
  const double upper = at(top, left) * (left + 1 - x) + at(top, right) * (x - left);
  const double lower = at(bottom, left) * (left + 1 - x) + at(bottom, right) * (x - left);
  return upper * (top + 1 - y) + lower * (y - top);
}

class RoiCase {
 public:
  explicit RoiCase(const RoiSetting& setting) : setting_(setting), problem_(kRoiProblem), random_(11) {
    problem_.channels = setting.channels;
    problem_.output_size = setting.output_size;
    problem_.sampling_ratio = setting.sampling_ratio;
    problem_.aligned = setting.aligned;
    problem_.pixel_offset = setting.pixel_offset;
    const pssdet_pyramid& pyramid = problem_.pyramid;
    for (int i = 0; i < pyramid.levels; ++i) {
      const Shape shape = {problem_.batch, setting.channels, pyramid.height[i] * pyramid.width[i]};
      values_.push_back(draw(random_, shape.count(), 1.0f, setting.type));
      maps_.emplace_back(shape, setting.type, setting.layout, values_.back());
    }
    draw_regions();
    const int bins = setting.output_size * setting.output_size;
    features_.emplace_back(
        Shape{problem_.batch * problem_.regions, setting.channels, bins}, setting.type, PSSDET_NCHW);
  }

  const pssdet_roi_align_problem& problem() const { return problem_; }
  pssdet_dtype type() const { return setting_.type; }
  pssdet_layout layout() const { return setting_.layout; }
  std::vector<float>& rois() { return rois_; }
  std::vector<Tensor>& map_tensors() { return maps_; }
  std::vector<unsigned char>& features() { return features_[0].bytes(); }
  std::vector<const void*> maps() {
    std::vector<const void*> result;
    for (Tensor& map : maps_) result.push_back(map.bytes().data());
    return result;
  }

  // Whether the features are right; prints a line, and forgets them.
  bool judge(const std::string& kernel) {
    const std::vector<float> got = features_[0].values();
    const size_t bins = size_t(setting_.output_size) * setting_.output_size;
    double largest = 0;
    bool finite = true;
    for (size_t i = 0; i < got.size(); ++i) {
      finite = finite && std::isfinite(got[i]);
      const double expected = feature(i / bins / setting_.channels, i / bins % setting_.channels, i % bins);
      largest = std::fmax(largest, std::fabs(got[i] - expected));
    }
    const bool intact = features_[0].is_intact_outside();
    const double limit = setting_.type == PSSDET_F16 ? 2e-3 : 2e-5;
    const bool good = finite && intact && largest <= limit;
    std::printf("%s %-40s %-10s %.2e of %.0e%s%s\n", good ? "ok    " : "FAILED", setting_.name, kernel.c_str(),
        largest, limit, finite ? "" : ", not finite", intact ? "" : ", wrote outside of the features");
    features_[0].clear();
    return good;
  }

 private:
  // Of all levels, some reaching over the border; the last three of each image tiny, inverted and huge.
  void draw_regions() {
    std::uniform_real_distribution<float> place(-8.0f, 150.0f), side(0.0f, 6.0f);
    for (int i = 0; i < problem_.batch * problem_.regions; ++i) {
      const int kind = i % problem_.regions;
      const float x = place(random_), y = place(random_) * 0.6f;
      float width = std::exp2(side(random_)) * 2, height = std::exp2(side(random_)) * 2;
      if (kind == problem_.regions - 3) width = height = 0.03f;
      if (kind == problem_.regions - 2) width = -width;
      if (kind == problem_.regions - 1) width = 9e4f;
      rois_.insert(rois_.end(), {x, y, x + width, y + height});
    }
  }

  int level_of(const float* box) const {
    const double width = double(box[2]) - box[0], height = double(box[3]) - box[1],
                 offset = problem_.pixel_offset;
    const double area = width < 0 || height < 0 ? 0 : (width + offset) * (height + offset);
    const double level =
        std::floor(std::log2(std::sqrt(area) / problem_.canonical_size + 1e-6)) + problem_.canonical_level;
    return int(std::fmin(std::fmax(level - problem_.min_level, 0), problem_.pyramid.levels - 1));
  }

  double feature(size_t region, size_t channel, size_t bin) const {
    const float* box = &rois_[region * 4];
    const int level = level_of(box), size = problem_.output_size;
    const int height = problem_.pyramid.height[level], width = problem_.pyramid.width[level];
    const double stride = problem_.pyramid.strides[level], shift = problem_.aligned ? 0.5 : 0.0;
    const double y = box[1] / stride - shift, x = box[0] / stride - shift;
    double rows = box[3] / stride - shift - y, columns = box[2] / stride - shift - x;
    if (!problem_.aligned) rows = std::fmax(rows, 1), columns = std::fmax(columns, 1);
    rows /= size, columns /= size;  // of a bin
    const int down = samples(rows), right = samples(columns);
    const size_t plane = (region / problem_.regions * setting_.channels + channel) * height * width;
    double sum = 0;
    for (int i = 0; i < down; ++i) {
      for (int j = 0; j < right; ++j) {
        sum += bilinear(values_[level], plane, height, width, y + (bin / size + (i + 0.5) / down) * rows,
            x + (bin % size + (j + 0.5) / right) * columns);
      }
    }
    return down > 0 && right > 0 ? sum / down / right : 0;
  }

  int samples(double cells) const {
    return problem_.sampling_ratio ? problem_.sampling_ratio : int(std::ceil(cells));
  }

  const RoiSetting& setting_;
  pssdet_roi_align_problem problem_;
  std::mt19937 random_;
  std::vector<std::vector<float>> values_;
  std::vector<Tensor> maps_, features_;
  std::vector<float> rois_;
};

}  // namespace pssdet::test
