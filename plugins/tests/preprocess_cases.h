// Random pictures to be prepared, and what plain loops make of them: in float64, or in OpenCV's whole numbers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "../preprocess/preprocess.h"

namespace pssdet::test {

struct PreprocessSetting {
  const char* name;
  int32_t height, width;
  double factor;
  pssdet_interpolation interpolation;
  int32_t normalise_first;
};

constexpr PreprocessSetting kPreprocessSettings[] = {
    {"linear, 8-bit", 37, 61, 2.3, PSSDET_LINEAR, 0},
    {"linear, 8-bit, shrunk", 90, 131, 0.37, PSSDET_LINEAR, 0},
    {"linear, 8-bit, halved", 40, 66, 0.5, PSSDET_LINEAR, 0},
    {"linear, 8-bit, smallest", 2, 3, 30.0, PSSDET_LINEAR, 0},
    {"linear, 8-bit, one column", 50, 1, 1.7, PSSDET_LINEAR, 0},
    {"cubic, 8-bit", 37, 61, 2.3, PSSDET_CUBIC, 0},
    {"cubic, 8-bit, shrunk", 90, 131, 0.37, PSSDET_CUBIC, 0},
    {"cubic, 8-bit, smallest", 2, 2, 30.0, PSSDET_CUBIC, 0},
    {"linear, float32", 37, 61, 2.3, PSSDET_LINEAR, 1},
    {"linear, float32, shrunk", 90, 131, 0.37, PSSDET_LINEAR, 1},
    {"cubic, float32", 37, 61, 2.3, PSSDET_CUBIC, 1},
    {"cubic, float32, one row", 1, 50, 1.7, PSSDET_CUBIC, 1},
    {"as it is", 33, 47, 1.0, PSSDET_CUBIC, 0},
};

class PreprocessCase {
 public:
  static constexpr int kGuard = 64;

  explicit PreprocessCase(const PreprocessSetting& setting) : setting_(setting) {
    const auto side = [&](int32_t pixels) { return int32_t(std::nearbyint(pixels * setting.factor)); };
    problem_ = {setting.height, setting.width, side(setting.height), side(setting.width), 0, 0,
        1 / setting.factor, 1 / setting.factor, setting.interpolation, setting.normalise_first,
        {0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}};
    problem_.padded_height = (problem_.out_height + 31) / 32 * 32;
    problem_.padded_width = (problem_.out_width + 31) / 32 * 32;
    std::mt19937 random(3);
    pixels_.resize(size_t(setting.height) * setting.width * 3);
    for (uint8_t& pixel : pixels_) pixel = uint8_t(random());
    out_.assign(size_t(3) * problem_.padded_height * problem_.padded_width + kGuard, std::nanf(""));
  }

  const pssdet_preprocess_problem& problem() const { return problem_; }
  const std::vector<uint8_t>& pixels() const { return pixels_; }
  std::vector<float>& out() { return out_; }

  // Whether the result is right; prints a line. What is rounded to whole grey levels may be rounded otherwise
  // where a value lies in the middle, but not in whole numbers.
  bool judge(const char* where) const {
    double largest = 0;
    size_t i = 0;
    bool zero = true;
    for (int channel = 0; channel < 3; ++channel) {
      for (int y = 0; y < problem_.padded_height; ++y) {
        for (int x = 0; x < problem_.padded_width; ++x, ++i) {
          if (y < problem_.out_height && x < problem_.out_width) {
            const double level = (double(out_[i]) * problem_.std[channel] + problem_.mean[channel]) * 255;
            const double apart = std::fabs(level - expected(channel, y, x));
            largest = apart <= largest ? largest : apart;  // a NaN stays
          } else {
            zero = zero && out_[i] == 0;
          }
        }
      }
    }
    bool intact = true;
    for (; i < out_.size(); ++i) intact = intact && std::isnan(out_[i]);
    const double limit = is_fixed() || problem_.normalise_first ? 1e-3 : 0.501;
    const bool good = largest <= limit && zero && intact;
    std::printf("%s %-30s %-10s %.2e of %.0e grey levels%s%s\n", good ? "ok    " : "FAILED", setting_.name,
        where, largest, limit, zero ? "" : ", padding is not zero", intact ? "" : ", wrote behind its end");
    return good;
  }

 private:
  bool is_fixed() const { return problem_.interpolation == PSSDET_LINEAR && !problem_.normalise_first; }

  // A grey level. That of 8-bit pixels and cubic interpolation is not rounded, but is a possible one.
  double expected(int channel, int y, int x) const {
    if (is_fixed()) return fixed(channel, y, x);
    const double at_y = (y + 0.5) * problem_.scale_y - 0.5, at_x = (x + 0.5) * problem_.scale_x - 0.5;
    double sum = 0;
    for (int row = int(std::floor(at_y)) - 1; row <= std::floor(at_y) + 2; ++row) {
      for (int column = int(std::floor(at_x)) - 1; column <= std::floor(at_x) + 2; ++column) {
        sum += kernel(at_y - row) * kernel(at_x - column) * pixel(row, column, channel);
      }
    }
    return problem_.normalise_first ? sum : std::fmin(std::fmax(sum, 0), 255);
  }

  // A triangle, or Keys' piecewise cubic with a = -0.75.
  double kernel(double distance) const {
    const double d = std::fabs(distance);
    if (problem_.interpolation == PSSDET_LINEAR) return std::fmax(0, 1 - d);
    if (d <= 1) return 1.25 * d * d * d - 2.25 * d * d + 1;
    return d < 2 ? -0.75 * (d * d * d - 5 * d * d + 8 * d - 4) : 0;
  }

  int pixel(int row, int column, int channel) const {
    row = std::min(std::max(row, 0), problem_.height - 1);
    column = std::min(std::max(column, 0), problem_.width - 1);
    return pixels_[(size_t(row) * problem_.width + column) * 3 + channel];
  }

  double fixed(int channel, int y, int x) const {
    const float at_y = float((y + 0.5) * problem_.scale_y - 0.5),
                at_x = float((x + 0.5) * problem_.scale_x - 0.5);
    const int row = int(std::floor(at_y)), column = int(std::floor(at_x));
    const bool inside = column >= 0 && column < problem_.width - 1;
    const int right = inside ? int(std::nearbyint((at_x - column) * 2048)) : 0;
    const int left = inside ? int(std::nearbyint((1 - (at_x - column)) * 2048)) : 2048;
    const int lower = int(std::nearbyint((at_y - row) * 2048)),
              upper = int(std::nearbyint((1 - (at_y - row)) * 2048));
    const auto of_row = [&](int r) {
      return (left * pixel(r, column, channel) + right * pixel(r, column + 1, channel)) / 16;
    };
    return (upper * of_row(row) / 65536 + lower * of_row(row + 1) / 65536 + 2) / 4;
  }

  const PreprocessSetting& setting_;
  pssdet_preprocess_problem problem_;
  std::vector<uint8_t> pixels_;
  std::vector<float> out_;
};

}  // namespace pssdet::test
