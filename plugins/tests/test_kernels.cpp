// The kernels themselves, run in the emulator, against the reference in float64.
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "../dcnv2/direct_kernel.cuh"
#include "../dcnv2/problem.h"
#include "../dcnv2/tiles.h"

namespace {

using namespace pssdet::dcnv2;

struct Case {
  const char* name;
  pssdet_dcnv2_problem problem;
  pssdet_dcnv2_format format;
  bool with_mask, with_bias;
  float reach;  // standard deviation of the offsets, pixels
};

int32_t up(int32_t channels) { return (channels + 7) / 8 * 8; }

// Values of a tensor [n, channels, pixels] in the memory order and type that a kernel takes; NaN in the gaps of NHWC.
std::vector<unsigned char> laid_out(const std::vector<float>& values, int n, int channels, int pixels, pssdet_dtype type, pssdet_layout layout) {
  const int pitch = layout == PSSDET_NHWC ? up(channels) : channels;
  const size_t size = type == PSSDET_F16 ? 2 : 4;
  std::vector<unsigned char> result(size_t(n) * pitch * pixels * size + 16, 0xFF);
  for (int i = 0; i < n; ++i) {
    for (int c = 0; c < channels; ++c) {
      for (int p = 0; p < pixels; ++p) {
        const float value = values[(size_t(i) * channels + c) * pixels + p];
        const size_t at = layout == PSSDET_NHWC ? (size_t(i) * pixels + p) * pitch + c : (size_t(i) * channels + c) * pixels + p;
        if (type == PSSDET_F16) {
          reinterpret_cast<half*>(result.data())[at] = __float2half_rn(value);
        } else {
          reinterpret_cast<float*>(result.data())[at] = value;
        }
      }
    }
  }
  return result;
}

float read(const std::vector<unsigned char>& memory, int i, int c, int p, int channels, int pixels, const pssdet_dcnv2_format& format) {
  const int pitch = up(channels);
  const size_t at = format.data_layout == PSSDET_NHWC ? (size_t(i) * pixels + p) * pitch + c : (size_t(i) * channels + c) * pixels + p;
  if (format.data_type == PSSDET_F16) return __half2float(reinterpret_cast<const half*>(memory.data())[at]);
  return reinterpret_cast<const float*>(memory.data())[at];
}

class Check {
 public:
  explicit Check(const Case& which) : case_(which), random_(7) {
    const pssdet_dcnv2_problem& p = which.problem;
    const pssdet_dcnv2_format& f = which.format;
    if (check(p, &out_h_, &out_w_) != PSSDET_OK) throw std::string("bad problem");
    const int pixels = out_h_ * out_w_, taps = p.kernel_h * p.kernel_w * p.offset_groups;
    const int offsets = f.raw_mask ? 3 * taps : 2 * taps;
    x_ = draw(size_t(p.batch) * p.channels * p.height * p.width, 1.0f, f.data_type);
    offset_ = draw(size_t(p.batch) * offsets * pixels, which.reach, f.offset_type);
    if (which.with_mask) mask_ = draw(size_t(p.batch) * taps * pixels, 1.0f, f.offset_type);
    const size_t inputs = size_t(p.channels / p.groups) * p.kernel_h * p.kernel_w;
    weight_ = draw(p.out_channels * inputs, 1.0f / std::sqrt(float(inputs)), f.data_type);
    if (which.with_bias) bias_ = draw(p.out_channels, 0.5f, PSSDET_F32);
    expected_.resize(size_t(p.batch) * p.out_channels * pixels);
    packed_.resize(weight_.size());
    pssdet_dcnv2_pack_weights(&p, PSSDET_F32, weight_.data(), packed_.data());
    pssdet_dcnv2_reference(&p, f.raw_mask, f.relu, 1, x_.data(), offset_.data(), pointer(mask_), packed_.data(), pointer(bias_),
        expected_.data());
    place();
  }

  // Runs body(arguments) and compares; true if all is well.
  template <typename Body>
  bool run(const std::string& what, const Body& body) {
    std::fill(y_.begin(), y_.end(), 0xFF);
    body(arguments_);
    const pssdet_dcnv2_problem& p = case_.problem;
    const int pixels = out_h_ * out_w_;
    double largest = 0, scale = 1e-3;
    for (const float value : expected_) scale = std::max(scale, double(std::fabs(value)));
    bool finite = true;
    for (int i = 0; i < p.batch; ++i) {
      for (int c = 0; c < p.out_channels; ++c) {
        for (int q = 0; q < pixels; ++q) {
          const float got = read(y_, i, c, q, p.out_channels, pixels, case_.format);
          finite = finite && std::isfinite(got);
          largest = std::max(largest, std::fabs(double(got) - expected_[(size_t(i) * p.out_channels + c) * pixels + q]));
        }
      }
    }
    const double limit = case_.format.data_type == PSSDET_F16 ? 2e-3 : 2e-6;
    const bool good = finite && largest <= limit * scale;
    std::printf("%s %-40s %-34s %.2e of %.2e\n", good ? "ok    " : "FAILED", case_.name, what.c_str(), largest / scale, limit);
    return good;
  }

  const Arguments& arguments() const { return arguments_; }

 private:
  // Values that the tensor's type holds exactly.
  std::vector<float> draw(size_t count, float deviation, pssdet_dtype type) {
    std::normal_distribution<float> normal(0.0f, deviation);
    std::vector<float> values(count);
    for (float& value : values) {
      value = normal(random_);
      if (type == PSSDET_F16) value = __half2float(__float2half_rn(value));
    }
    return values;
  }

  static const float* pointer(const std::vector<float>& values) { return values.empty() ? nullptr : values.data(); }

  void place() {
    const pssdet_dcnv2_problem& p = case_.problem;
    const pssdet_dcnv2_format& f = case_.format;
    const int pixels = out_h_ * out_w_, taps = p.kernel_h * p.kernel_w * p.offset_groups;
    const int weights = p.channels / p.groups * p.kernel_h * p.kernel_w;
    x_memory_ = laid_out(x_, p.batch, p.channels, p.height * p.width, f.data_type, f.data_layout);
    offset_memory_ = laid_out(offset_, p.batch, f.raw_mask ? 3 * taps : 2 * taps, pixels, f.offset_type, f.offset_layout);
    if (case_.with_mask) mask_memory_ = laid_out(mask_, p.batch, taps, pixels, f.offset_type, f.offset_layout);
    weight_memory_ = laid_out(packed_, 1, p.out_channels, weights, f.data_type, PSSDET_NCHW);
    y_ = laid_out(expected_, p.batch, p.out_channels, pixels, f.data_type, f.data_layout);
    const pssdet_status status = prepare(p, f, x_memory_.data(), offset_memory_.data(), case_.with_mask ? mask_memory_.data() : nullptr,
        weight_memory_.data(), pointer(bias_), y_.data(), &arguments_);
    if (status != PSSDET_OK) throw std::string("prepare refused ") + case_.name;
  }

  const Case& case_;
  std::mt19937 random_;
  int32_t out_h_ = 0, out_w_ = 0;
  std::vector<float> x_, offset_, mask_, weight_, packed_, bias_, expected_;
  std::vector<unsigned char> x_memory_, offset_memory_, mask_memory_, weight_memory_, y_;
  Arguments arguments_;
};

template <typename Core>
bool run_fused(Check& check, int number, const std::string& core, bool reversed) {
  return with_tile(number, [&](auto tile) {
    using Chosen = decltype(tile);
    const std::string what = core + " " + std::to_string(Chosen::kRows) + "x" + std::to_string(Chosen::kColumns) + (reversed ? " reversed" : "");
    return check.run(what, [&](const Arguments& arguments) {
      pssdet::emulator::launch(unsigned(blocks_of(arguments, number)), Chosen::kThreads, Chosen::shared_bytes(arguments.taps()),
          [&](unsigned char* shared) { Fused<Core, Chosen>(arguments, shared).run(); }, reversed);
    });
  });
}

template <typename T>
bool run_direct(Check& check, bool channels_last) {
  return check.run("direct", [&](const Arguments& arguments) {
    pssdet::emulator::launch(unsigned(direct_blocks(arguments)), kDirectThreads, sizeof(DirectShared),
        [&](unsigned char* shared) { Direct<T>(arguments, channels_last, *reinterpret_cast<DirectShared*>(shared)).run(); });
  });
}

constexpr pssdet_dcnv2_format kFast = {PSSDET_F16, PSSDET_NHWC, PSSDET_F32, PSSDET_NCHW, 0, 0};
constexpr pssdet_dcnv2_format kRaw = {PSSDET_F16, PSSDET_NHWC, PSSDET_F16, PSSDET_NHWC, 1, 1};
constexpr pssdet_dcnv2_format kFloat = {PSSDET_F32, PSSDET_NCHW, PSSDET_F32, PSSDET_NCHW, 0, 0};
constexpr pssdet_dcnv2_format kHalfPlanes = {PSSDET_F16, PSSDET_NCHW, PSSDET_F16, PSSDET_NCHW, 1, 1};
constexpr pssdet_dcnv2_format kFloatLast = {PSSDET_F32, PSSDET_NHWC, PSSDET_F32, PSSDET_NHWC, 1, 0};

//                       n  c   h  w  out  kh kw sh sw dh dw pads        g  og
const Case kCases[] = {
    {"3x3", {1, 64, 9, 11, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, kFast, true, true, 1.5f},
    {"3x3, stride 2, batch of 3", {3, 32, 11, 8, 32, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1}, kFast, true, false, 1.5f},
    {"raw offsets, far outside", {2, 40, 7, 10, 264, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, kRaw, false, true, 8.0f},
    {"2x3, dilated, uneven padding", {1, 24, 10, 9, 72, 2, 3, 1, 2, 2, 1, 0, 2, 1, 0, 1, 1}, kFast, false, false, 2.0f},
    {"1x1, one pixel", {1, 8, 1, 1, 8, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1}, kFast, true, true, 0.4f},
    {"float32", {2, 20, 9, 11, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, kFloat, true, true, 1.5f},
    {"float32, groups and offset groups", {2, 24, 8, 9, 12, 3, 3, 2, 1, 1, 2, 1, 2, 1, 2, 2, 3}, kFloat, true, false, 3.0f},
    {"half planes, raw", {1, 12, 8, 9, 10, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2, 1, 2}, kHalfPlanes, false, true, 3.0f},
    {"float32 NHWC, odd channels", {2, 5, 6, 7, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, kFloatLast, false, true, 2.0f},
    {"half NHWC, groups", {1, 16, 6, 7, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 4, 2}, kFast, true, false, 2.0f},
};

}  // namespace

int main() {
  int failed = 0;
  for (const Case& each : kCases) {
    Check check(each);
    if (is_fused(each.problem, each.format)) {
      for (int tile = 0; tile < kTiles; ++tile) {
        failed += !run_fused<MmaSync>(check, tile, "mma.sync", false);
        failed += !run_fused<Wmma>(check, tile, "wmma", false);
      }
      failed += !run_fused<MmaSync>(check, kTiles - 1, "mma.sync", true);
      failed += !run_fused<Wmma>(check, kTiles - 1, "wmma", true);
    }
    const bool channels_last = each.format.data_layout == PSSDET_NHWC;
    failed += !(each.format.data_type == PSSDET_F16 ? run_direct<half>(check, channels_last) : run_direct<float>(check, channels_last));
  }
  std::printf("%d failed\n", failed);
  return failed != 0;
}
