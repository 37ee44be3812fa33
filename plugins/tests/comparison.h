// One case: its tensors, what the reference makes of them in float64, and how far a kernel may be from that.
#pragma once

#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <string>

#include "cases.h"
#include "dcnv2_reference.h"
#include "tensors.h"

namespace pssdet::test {

class Comparison {
 public:
  explicit Comparison(const Case& which) : case_(which), random_(7) {
    const pssdet_dcnv2_problem& p = which.problem;
    const pssdet_dcnv2_format& f = which.format;
    int32_t out_h = 0, out_w = 0;
    if (pssdet_dcnv2_output_size(&p, &out_h, &out_w) != PSSDET_OK)
      throw std::runtime_error(std::string("bad problem: ") + which.name);
    const int pixels = out_h * out_w, masks = p.kernel_h * p.kernel_w * p.offset_groups;
    const Shape in = {p.batch, p.channels, p.height * p.width}, out = {p.batch, p.out_channels, pixels};
    const Shape offset = {p.batch, f.raw_mask ? 3 * masks : 2 * masks, pixels}, mask = {p.batch, masks, pixels};
    const Shape weight = {1, p.out_channels, p.channels / p.groups * p.kernel_h * p.kernel_w};
    x_ = draw(random_, in.count(), 1.0f, f.data_type);
    offset_ = draw(random_, offset.count(), which.reach, f.offset_type);
    if (which.with_mask) mask_ = draw(random_, mask.count(), 1.0f, f.offset_type);
    const std::vector<float> oihw =
        draw(random_, weight.count(), 1.0f / std::sqrt(float(weight.pixels)), f.data_type);
    if (which.with_bias) bias_ = draw(random_, p.out_channels, 0.5f, PSSDET_F32);
    weight_.resize(oihw.size());
    expected_.resize(out.count());
    pssdet_dcnv2_pack_weights(&p, PSSDET_F32, oihw.data(), weight_.data());
    pssdet_dcnv2_reference(&p, f.raw_mask, f.relu, 1, x_.data(), offset_.data(), pointer(mask_), weight_.data(),
        pointer(bias_), expected_.data());
    tensors_ = {
        {in, f.data_type, f.data_layout, x_},
        {offset, f.offset_type, f.offset_layout, offset_},
        {mask, f.offset_type, f.offset_layout, which.with_mask ? mask_ : std::vector<float>(mask.count())},
        {weight, f.data_type, PSSDET_NCHW, weight_},
        {{1, 1, p.out_channels}, PSSDET_F32, PSSDET_NCHW,
            which.with_bias ? bias_ : std::vector<float>(p.out_channels)},
        {out, f.data_type, f.data_layout},
    };
  }

  const Case& what() const { return case_; }

  // x, offset, mask, weight, bias and y; the mask and the bias are not to be used where the case has none.
  enum { kX, kOffset, kMask, kWeight, kBias, kY, kTensors };
  Tensor& tensor(int number) { return tensors_[size_t(number)]; }
  bool has(int number) const {
    return (number != kMask || case_.with_mask) && (number != kBias || case_.with_bias);
  }

  // Whether y holds what it should; prints a line.
  bool judge(const std::string& kernel) {
    const std::vector<float> got = tensor(kY).values();
    double largest = 0, scale = 1e-3;
    bool finite = true;
    for (size_t i = 0; i < got.size(); ++i) {
      finite = finite && std::isfinite(got[i]);
      scale = std::fmax(scale, std::fabs(double(expected_[i])));
      largest = std::fmax(largest, std::fabs(double(got[i]) - expected_[i]));
    }
    const bool intact = tensor(kY).is_intact_outside();
    // Half: the samples' rounding. float32: that of sums of k products, which grows with the root of k, and of
    // samples.
    const double k = double(weight_.size()) / case_.problem.out_channels;
    const double limit = case_.format.data_type == PSSDET_F16 ? 2e-3 : 1e-7 * std::sqrt(k + 9);
    const bool good = finite && intact && largest <= limit * scale;
    std::printf("%s %-40s %-34s %.2e of %.2e%s%s\n", good ? "ok    " : "FAILED", case_.name, kernel.c_str(),
        largest / scale, limit, finite ? "" : ", not finite", intact ? "" : ", wrote outside of y");
    return good;
  }

 private:
  static const float* pointer(const std::vector<float>& values) {
    return values.empty() ? nullptr : values.data();
  }

  const Case& case_;
  std::mt19937 random_;
  std::vector<float> x_, offset_, mask_, weight_, bias_, expected_;
  std::vector<Tensor> tensors_;
};

}  // namespace pssdet::test
