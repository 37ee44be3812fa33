// What the library accepts: sizes, their limits, formats and pointers.
#include <climits>
#include <vector>

#include "../dcnv2/arguments.h"
#include "checks.h"

namespace {

using namespace pssdet::dcnv2;

constexpr pssdet_dcnv2_problem kPlain = {2, 16, 20, 30, 24, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
constexpr pssdet_dcnv2_format kHalf = {PSSDET_F16, PSSDET_NHWC, PSSDET_F32, PSSDET_NCHW, 0, 0};

template <typename Change>
pssdet_dcnv2_problem changed(const Change& change) {
  pssdet_dcnv2_problem problem = kPlain;
  change(problem);
  return problem;
}

bool has_size(const pssdet_dcnv2_problem& problem, int32_t height, int32_t width) {
  int32_t out_h = 0, out_w = 0;
  return pssdet_dcnv2_output_size(&problem, &out_h, &out_w) == PSSDET_OK && out_h == height && out_w == width;
}

template <typename Change>
bool refused(const Change& change) {
  int32_t out_h = 0, out_w = 0;
  const pssdet_dcnv2_problem problem = changed(change);
  return pssdet_dcnv2_output_size(&problem, &out_h, &out_w) == PSSDET_BAD_PROBLEM;
}

using Problem = pssdet_dcnv2_problem;

void output_size() {
  CHECK(has_size(kPlain, 20, 30));
  CHECK(has_size(changed([](Problem& p) { p.stride_h = p.stride_w = 2; }), 10, 15));
  CHECK(has_size(changed([](Problem& p) { p.dilation_h = 2; }), 18, 30));
  CHECK(has_size(changed([](Problem& p) { p.pad_left = 4, p.pad_bottom = 0; }), 19, 33));
  CHECK(has_size(changed([](Problem& p) { p.kernel_h = 22; }), 1, 30));
  CHECK(has_size(changed([](Problem& p) { p.stride_h = p.stride_w = INT_MAX; }), 1, 1));
  CHECK(has_size(changed([](Problem& p) { p.kernel_h = p.kernel_w = 1, p.dilation_h = INT_MAX; }), 22, 32));
}

void contradictions() {
  int32_t Problem::* const positive[] = {&Problem::batch, &Problem::channels, &Problem::height, &Problem::width,
      &Problem::out_channels, &Problem::kernel_h, &Problem::kernel_w, &Problem::stride_h, &Problem::stride_w,
      &Problem::dilation_h, &Problem::dilation_w, &Problem::groups, &Problem::offset_groups};
  for (const auto member : positive) {
    CHECK(refused([&](Problem& p) { p.*member = 0; }));
    CHECK(refused([&](Problem& p) { p.*member = INT_MIN; }));
  }
  for (const auto member : {&Problem::pad_top, &Problem::pad_left, &Problem::pad_bottom, &Problem::pad_right}) {
    CHECK(refused([&](Problem& p) { p.*member = -1; }));
  }
  CHECK(refused([](Problem& p) { p.kernel_h = 23; }));
  CHECK(refused([](Problem& p) { p.dilation_w = 16; }));
  CHECK(refused([](Problem& p) { p.groups = 3; }));
  CHECK(refused([](Problem& p) { p.groups = 16; }));  // divides the input's channels, not the output's
  CHECK(refused([](Problem& p) { p.offset_groups = 5; }));
  int32_t size = 0;
  CHECK(pssdet_dcnv2_output_size(nullptr, &size, &size) == PSSDET_BAD_PROBLEM);
  CHECK(pssdet_dcnv2_output_size(&kPlain, nullptr, &size) == PSSDET_BAD_PROBLEM);
  CHECK(pssdet_dcnv2_output_size(&kPlain, &size, nullptr) == PSSDET_BAD_PROBLEM);
}

void limits() {
  // Every size alone at its most.
  int32_t Problem::* const members[] = {&Problem::batch, &Problem::channels, &Problem::height, &Problem::width,
      &Problem::out_channels, &Problem::kernel_h, &Problem::kernel_w, &Problem::dilation_h, &Problem::pad_top,
      &Problem::pad_left, &Problem::pad_bottom, &Problem::pad_right};
  for (const auto member : members) CHECK(refused([&](Problem& p) { p.*member = INT_MAX; }));
  CHECK(refused([](Problem& p) { p.channels = p.groups = p.offset_groups = p.out_channels = INT_MAX; }));
  CHECK(refused([](Problem& p) {
    p.pad_top = p.pad_bottom = p.pad_left = p.pad_right = p.stride_h = p.stride_w = INT_MAX;
  }));
  // Coordinates: float32 knows every whole number up to 2^24.
  CHECK(has_size(
      changed([](Problem& p) { p.batch = 1, p.width = 1, p.height = (1 << 24) - 2; }), (1 << 24) - 2, 1));
  CHECK(refused([](Problem& p) { p.batch = 1, p.width = 1, p.height = (1 << 24) - 1; }));
  CHECK(refused([](Problem& p) { p.pad_left = 1 << 24; }));
  // Pixels of a batch, as input and as output.
  CHECK(has_size(changed([](Problem& p) { p.batch = 4, p.height = 1 << 10, p.width = (1 << 17) - 1; }), 1 << 10,
      (1 << 17) - 1));
  CHECK(refused([](Problem& p) { p.batch = 4, p.height = 1 << 10, p.width = 1 << 17; }));
  CHECK(
      refused([](Problem& p) { p.batch = 1 << 20, p.height = p.width = 1, p.pad_top = 20, p.pad_left = 30; }));
  // Taps with channels, and with offset groups.
  CHECK(refused([](Problem& p) { p.kernel_h = p.kernel_w = 1 << 13, p.pad_top = p.pad_left = 1 << 13; }));
  CHECK(refused([](Problem& p) {
    p.channels = p.offset_groups = 1 << 20;
    p.kernel_h = p.kernel_w = p.pad_top = p.pad_left = 20;
  }));
}

// The largest problems that are accepted: the places that the kernels read are worked out without overflow,
// which the sanitizer that the tests are built with would report.
void places_at_the_limits() {
  const Problem problems[] = {
      {1, 1, (1 << 24) - 2, 1, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
      {1, 1, 1, 1, 1, 2, 2, 1 << 23, 1 << 23, (1 << 24) - 1, (1 << 24) - 1, (1 << 24) - 1, (1 << 24) - 1, 0, 0,
          1, 1},
      {1, 1, 1, 1, 1, 1, 1, INT_MAX, INT_MAX, INT_MAX, INT_MAX, 0, 0, (1 << 24) - 1, (1 << 24) - 1, 1, 1},
      {1, (1 << 26) - 8, 4, 4, (1 << 29), 4, 4, 1, 1, 1, 1, 0, 0, 0, 0, 8, 8},
  };
  alignas(16) static float memory[4] = {};
  for (const Problem& problem : problems) {
    Arguments arguments;
    const pssdet_dcnv2_format format = {PSSDET_F16, PSSDET_NHWC, PSSDET_F32, PSSDET_NHWC, 0, 0};
    CHECK(prepare(problem, format, memory, memory, nullptr, memory, nullptr, memory, &arguments) == PSSDET_OK);
    // Every offset is memory[0], wherever it would be.
    arguments.offset = {memory, false, {}};
    const int32_t last_tap = arguments.taps() - 1, last_pixel = arguments.pixels() - 1;
    const Corners<float> corners =
        arguments.corners(arguments.pixel(problem.batch - 1, last_pixel), problem.offset_groups - 1, last_tap);
    CHECK(corners.y >= 0 && corners.y < problem.height && corners.x >= 0 && corners.x < problem.width);
    CHECK(arguments.channel_pitch >= problem.channels && arguments.out_channel_pitch >= problem.out_channels);
  }
}

void formats() {
  CHECK(is_fused(kPlain, kHalf));
  const auto other = [](const auto& change) {
    pssdet_dcnv2_format format = kHalf;
    change(format);
    return is_fused(kPlain, format);
  };
  CHECK(!other([](pssdet_dcnv2_format& f) { f.data_type = PSSDET_F32; }));
  CHECK(!other([](pssdet_dcnv2_format& f) { f.data_layout = PSSDET_NCHW; }));
  CHECK(other([](pssdet_dcnv2_format& f) {
    f.offset_type = PSSDET_F16, f.offset_layout = PSSDET_NHWC, f.raw_mask = 1;
  }));
  const auto fused = [](const auto& change) { return is_fused(changed(change), kHalf); };
  CHECK(!fused([](Problem& p) { p.channels = 12; }));
  CHECK(!fused([](Problem& p) { p.out_channels = 12; }));
  CHECK(!fused([](Problem& p) { p.groups = 2; }));
  CHECK(!fused([](Problem& p) { p.offset_groups = 2; }));
  CHECK(!fused([](Problem& p) { p.kernel_h = 4; }));
  CHECK(fused([](Problem& p) { p.kernel_h = 9, p.kernel_w = 1; }));
  // 2^32 eights of weights are one too many: the last of them has the number that means none.
  const auto with_weights = [&](int32_t out) {
    return fused([&](Problem& p) { p.kernel_h = p.kernel_w = 1, p.channels = 128, p.out_channels = out; });
  };
  CHECK(with_weights((1 << 28) - 8) && !with_weights(1 << 28));
  CHECK(fused([](Problem& p) { p.channels = 1 << 14; }));
  CHECK(!fused([](Problem& p) { p.channels = (1 << 14) + 8; }));
}

void pointers() {
  alignas(16) float memory[8] = {};
  const float* bad = memory + 1;
  Arguments arguments;
  const auto status = [&](const void* x, const void* offset, const void* mask, const void* weight,
                          const float* bias, void* y, const pssdet_dcnv2_format& format = kHalf) {
    return prepare(kPlain, format, x, offset, mask, weight, bias, y, &arguments);
  };
  CHECK(status(memory, memory, memory, memory, memory, memory) == PSSDET_OK);
  CHECK(status(memory, memory, nullptr, memory, nullptr, memory) == PSSDET_OK);
  CHECK(status(nullptr, memory, memory, memory, memory, memory) == PSSDET_BAD_PROBLEM);
  CHECK(status(memory, nullptr, memory, memory, memory, memory) == PSSDET_BAD_PROBLEM);
  CHECK(status(memory, memory, memory, nullptr, memory, memory) == PSSDET_BAD_PROBLEM);
  CHECK(status(memory, memory, memory, memory, memory, nullptr) == PSSDET_BAD_PROBLEM);
  CHECK(status(bad, memory, memory, memory, memory, memory) == PSSDET_BAD_PROBLEM);
  CHECK(status(memory, memory, memory, bad, memory, memory) == PSSDET_BAD_PROBLEM);
  CHECK(status(memory, memory, memory, memory, memory, memory + 1) == PSSDET_BAD_PROBLEM);
  pssdet_dcnv2_format raw = kHalf;
  raw.raw_mask = 1;
  raw.offset_layout = PSSDET_NHWC;
  CHECK(status(memory, memory, memory, memory, memory, memory, raw) == PSSDET_BAD_PROBLEM);
  CHECK(status(memory, memory, nullptr, memory, memory, memory, raw) == PSSDET_OK);
  CHECK(arguments.first_mask == 18 && arguments.offset.strides.step == 32 && arguments.mask.data == memory);
  for (const int member : {0, 1, 2, 3}) {
    pssdet_dcnv2_format unknown = kHalf;
    if (member == 0) unknown.data_type = pssdet_dtype(2);
    if (member == 1) unknown.data_layout = pssdet_layout(3);
    if (member == 2) unknown.offset_type = pssdet_dtype(2);
    if (member == 3) unknown.offset_layout = pssdet_layout(3);
    CHECK(status(memory, memory, memory, memory, memory, memory, unknown) == PSSDET_BAD_PROBLEM);
  }
}

// The second part of a split tensor begins at any value: offset, mask and bias, and planes of x and y, may be
// one.
void alignment() {
  alignas(16) unsigned char memory[64] = {};
  const auto accepted = [&](int x, int offset, int mask, int bias, int y, const pssdet_dcnv2_format& format) {
    Arguments arguments;
    return prepare(kPlain, format, memory + x, memory + offset, memory + mask, memory,
               reinterpret_cast<const float*>(memory + bias), memory + y, &arguments) == PSSDET_OK;
  };
  pssdet_dcnv2_format half_offsets = kHalf, planes = kHalf;
  half_offsets.offset_type = PSSDET_F16;
  planes.data_layout = PSSDET_NCHW;
  CHECK(accepted(0, 4, 12, 4, 0, kHalf) && accepted(0, 2, 6, 4, 0, half_offsets));
  CHECK(accepted(2, 4, 4, 4, 6, planes));
  CHECK(!accepted(0, 2, 4, 4, 0, kHalf) && !accepted(0, 4, 2, 4, 0, kHalf) && !accepted(0, 4, 4, 2, 0, kHalf));
  CHECK(!accepted(0, 1, 2, 4, 0, half_offsets) && !accepted(0, 2, 1, 4, 0, half_offsets));
  CHECK(!accepted(8, 4, 4, 4, 0, kHalf) && !accepted(0, 4, 4, 4, 8, kHalf));
  CHECK(!accepted(1, 4, 4, 4, 0, planes) && !accepted(0, 4, 4, 4, 1, planes));
}

}  // namespace

int main() {
  output_size();
  contradictions();
  limits();
  places_at_the_limits();
  formats();
  pointers();
  alignment();
  return pssdet::test::summary();
}
