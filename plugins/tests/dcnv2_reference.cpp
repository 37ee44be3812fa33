#include "dcnv2_reference.h"

#include <vector>

#include "../dcnv2/arguments.h"

namespace {

using pssdet::dcnv2::Corners;

template <typename Real>
class Reference {
 public:
  Reference(const pssdet_dcnv2_problem& problem, bool raw_mask, bool relu, int32_t out_h, int32_t out_w,
      const float* x, const float* offset, const float* mask, const float* weight, const float* bias)
      : p_(problem), raw_mask_(raw_mask), relu_(relu), out_h_(out_h), out_w_(out_w), x_(x), offset_(offset),
        mask_(mask), weight_(weight), bias_(bias) {}

  void run(float* y) const {
    std::vector<Real> samples(size_t(p_.channels) * taps());
    for (int32_t n = 0; n < p_.batch; ++n) {
      for (int32_t row = 0; row < out_h_; ++row) {
        for (int32_t column = 0; column < out_w_; ++column) {
          sample(n, row, column, samples);
          for (int32_t o = 0; o < p_.out_channels; ++o) {
            y[(int64_t(n) * p_.out_channels + o) * pixels() + int64_t(row) * out_w_ + column] =
                float(sum(o, samples));
          }
        }
      }
    }
  }

 private:
  int64_t taps() const { return int64_t(p_.kernel_h) * p_.kernel_w; }
  int64_t pixels() const { return int64_t(out_h_) * out_w_; }

  // Every channel at every tap of one output pixel: [channels, taps].
  void sample(int32_t n, int32_t row, int32_t column, std::vector<Real>& samples) const {
    const int32_t per_group = p_.channels / p_.offset_groups;
    for (int32_t group = 0; group < p_.offset_groups; ++group) {
      for (int32_t tap = 0; tap < taps(); ++tap) {
        const Corners<Real> at = corners(n, row, column, group, tap);
        for (int32_t c = group * per_group; c < (group + 1) * per_group; ++c) {
          samples[size_t(c * taps() + tap)] =
              blend(at, x_ + (int64_t(n) * p_.channels + c) * p_.height * p_.width);
        }
      }
    }
  }

  Corners<Real> corners(int32_t n, int32_t row, int32_t column, int32_t group, int32_t tap) const {
    const int64_t offsets = 2 * taps() * p_.offset_groups, masks = taps() * p_.offset_groups;
    const int64_t pixel = int64_t(row) * out_w_ + column, number = group * taps() + tap;
    const float* offset =
        offset_ + (n * (raw_mask_ ? offsets + masks : offsets) + 2 * number) * pixels() + pixel;
    Real mask = 1;
    if (raw_mask_) {
      mask =
          pssdet::dcnv2::sigmoid(Real(offset_[(n * (offsets + masks) + offsets + number) * pixels() + pixel]));
    } else if (mask_) {
      mask = mask_[(n * masks + number) * pixels() + pixel];
    }
    const int32_t y = row * p_.stride_h - p_.pad_top + tap / p_.kernel_w * p_.dilation_h;
    const int32_t x = column * p_.stride_w - p_.pad_left + tap % p_.kernel_w * p_.dilation_w;
    return pssdet::dcnv2::corners_at(
        Real(y) + Real(offset[0]), Real(x) + Real(offset[pixels()]), mask, p_.height, p_.width);
  }

  Real blend(const Corners<Real>& at, const float* plane) const {
    const float* top = plane + int64_t(at.y) * p_.width + at.x;
    const float* bottom = top + at.down * p_.width;
    return at.weight[0] * Real(top[0]) + at.weight[1] * Real(top[at.right]) + at.weight[2] * Real(bottom[0]) +
        at.weight[3] * Real(bottom[at.right]);
  }

  Real sum(int32_t o, const std::vector<Real>& samples) const {
    const int64_t inputs = p_.channels / p_.groups, first = o / (p_.out_channels / p_.groups) * inputs;
    Real total = 0;
    for (int64_t tap = 0; tap < taps(); ++tap) {
      const float* weight = weight_ + (o * taps() + tap) * inputs;
      for (int64_t i = 0; i < inputs; ++i)
        total += Real(weight[i]) * samples[size_t((first + i) * taps() + tap)];
    }
    if (bias_) total += bias_[o];
    return relu_ && total < 0 ? Real(0) : total;
  }

  const pssdet_dcnv2_problem& p_;
  const bool raw_mask_, relu_;
  const int32_t out_h_, out_w_;
  const float *x_, *offset_, *mask_, *weight_, *bias_;
};

}  // namespace

extern "C" pssdet_status pssdet_dcnv2_reference(const pssdet_dcnv2_problem* problem, int32_t raw_mask,
    int32_t relu, int32_t exact, const float* x, const float* offset, const float* mask, const float* weight,
    const float* bias, float* y) {
  int32_t out_h = 0, out_w = 0;
  if (!problem || pssdet_dcnv2_output_size(problem, &out_h, &out_w) != PSSDET_OK) return PSSDET_BAD_PROBLEM;
  if (!x || !offset || !weight || !y || (mask && raw_mask)) return PSSDET_BAD_PROBLEM;
  if (exact) {
    Reference<double>(*problem, raw_mask, relu, out_h, out_w, x, offset, mask, weight, bias).run(y);
  } else {
    Reference<float>(*problem, raw_mask, relu, out_h, out_w, x, offset, mask, weight, bias).run(y);
  }
  return PSSDET_OK;
}
