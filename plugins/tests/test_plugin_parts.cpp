// The parts of the TensorRT plugin that need no TensorRT: attributes, their record, the format table, the problem.
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "../tensorrt/deform_conv/attributes.h"
#include "../tensorrt/deform_conv/tensors.h"

namespace {

using namespace pssdet::tensorrt::deform_conv;

int failures = 0;

void expect(bool truth, const std::string& what) {
  if (truth) return;
  std::printf("FAILED: %s\n", what.c_str());
  ++failures;
}

std::string set(Attributes* attributes, const char* name, const std::vector<int64_t>& values) {
  return assign(attributes, name, values.data(), int32_t(values.size()));
}

bool same(const Attributes& a, const Attributes& b) { return std::memcmp(&a, &b, sizeof(Attributes)) == 0; }

using Assignments = std::vector<std::pair<const char*, std::vector<int64_t>>>;

Attributes ours() {
  Attributes a;
  const Assignments assignments = {{"dilations", {1, 2}}, {"group", {2}}, {"kernel_shape", {3, 5}}, {"offset_group", {4}},
      {"pads", {1, 2, 3, 4}}, {"strides", {2, 1}}, {"has_bias", {1}}, {"has_mask", {1}}, {"relu", {1}}};
  for (const auto& [name, values] : assignments) expect(set(&a, name, values).empty(), name);
  return a;
}

void attributes() {
  const Attributes a = ours();
  expect(a.pads[0] == 1 && a.pads[1] == 2 && a.pads[2] == 3 && a.pads[3] == 4, "pads are kept");
  expect(a.kernel_shape[1] == 5 && a.group[0] == 2 && a.relu[0] == 1, "so are others");
  Attributes b = a;
  const Assignments wrong = {{"pads", {1, 1}}, {"pads", {0, 0, 0, -1}}, {"strides", {0, 1}}, {"dilations", {1, int64_t(1) << 32}},
      {"group", {}}, {"group", {0}}, {"relu", {2}}, {"Pads", {0, 0, 0, 0}}, {"", {1}}};
  for (const auto& [name, values] : wrong) expect(!set(&b, name, values).empty(), std::string("refuses ") + name);
  expect(set(&b, "pads", {0, 0, 0, -1}).find("pads is -1") == 0, "the complaint names attribute and value");
  expect(contradiction(a).empty(), "no contradiction");
  b = a;
  expect(set(&b, "raw_mask", {1}).empty() && !contradiction(b).empty(), "two masks contradict each other");
  b = a;
  expect(set(&b, "kernel_shape", {3, 0}).empty() && !contradiction(b).empty(), "half a kernel_shape");
  expect(text_of(a) != text_of(Attributes()) && text_of(a) == text_of(ours()), "the text tells attributes apart");
}

void record() {
  const Attributes a = ours();
  std::vector<unsigned char> bytes(record_size() + 1, 0xEE);
  write_record(a, bytes.data());
  expect(bytes.back() == 0xEE, "writes its size only");
  bytes.pop_back();
  const char head[] = "PSDC\1\0\0\0\104\0\0\0\1\0\0\0\2\0\0\0\2\0\0\0";
  expect(bytes.size() == 80 && std::memcmp(bytes.data(), head, 24) == 0, "the record's layout is fixed");
  Attributes b;
  expect(read_record(bytes.data(), bytes.size(), &b).empty() && same(a, b), "a record gives back what was written");
  const Attributes untouched;
  const auto refused = [&](const std::vector<unsigned char>& from) {
    Attributes c;
    return !read_record(from.data(), from.size(), &c).empty() && same(c, untouched);
  };
  expect(!read_record(nullptr, 80, &b).empty(), "no bytes at all");
  for (size_t size = 0; size < bytes.size(); ++size) {
    // A vector of exactly this size, so that a sanitizer sees a read past its end.
    expect(refused(std::vector<unsigned char>(bytes.begin(), bytes.begin() + long(size))), "cut to " + std::to_string(size));
  }
  std::vector<unsigned char> longer = bytes;
  longer.push_back(0);
  expect(refused(longer), "a byte too long");
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::vector<unsigned char> damaged = bytes;
    damaged[at] = 0xFF;  // in a low byte of a value this may be a valid number: it must be refused or read as exactly that
    Attributes c;
    if (at < 12) expect(refused(damaged), "damaged at " + std::to_string(at));
    if (read_record(damaged.data(), damaged.size(), &c).empty()) {
      std::vector<unsigned char> again(record_size());
      write_record(c, again.data());
      expect(again == damaged, "read as it stands, damaged at " + std::to_string(at));
    }
  }
  std::vector<unsigned char> next = bytes;
  next[4] = 2;
  expect(read_record(next.data(), next.size(), &b).find("version 2") != std::string::npos, "names a later version");
}

constexpr Storage kHalfLinear{PSSDET_F16, PSSDET_NCHW}, kHalfHwc8{PSSDET_F16, PSSDET_NHWC}, kFloatLinear{PSSDET_F32, PSSDET_NCHW},
    kFloatHwc8{PSSDET_F32, PSSDET_NHWC}, kNone{kForeign, kForeign};

// All prefixes are supported, or not.
bool supported(const Attributes& a, const std::vector<Storage>& tensors) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!supports(a, tensors.data(), int32_t(i), int32_t(tensors.size()) - 1, 1)) return false;
  }
  return true;
}

void formats() {
  Attributes a;
  a.has_bias[0] = a.has_mask[0] = 1;
  const auto combination = [](Storage x, Storage offset) {
    return std::vector<Storage>{x, {x.type, PSSDET_NCHW}, offset, kFloatLinear, offset, x};
  };
  Attributes half = a;
  half.half_offsets[0] = 1;
  const std::vector<Storage> all = {kHalfLinear, kHalfHwc8, kFloatLinear, kFloatHwc8, kNone};
  int without = 0, with = 0;
  for (const Storage& x : all) {
    for (const Storage& offset : all) {
      without += supported(a, combination(x, offset));
      with += supported(half, combination(x, offset));
    }
  }
  expect(without == 3 && with == 6, "three combinations, and three more with half offsets");
  for (const Storage& x : {kHalfHwc8, kHalfLinear, kFloatLinear})
    expect(supported(a, combination(x, kFloatLinear)), "float offsets");
  for (const Storage& offset : {kHalfHwc8, kHalfLinear}) {
    expect(supported(half, combination(kHalfHwc8, offset)) && !supported(a, combination(kHalfHwc8, offset)),
        "half offsets where allowed");
  }
  const std::vector<Storage> good = combination(kHalfHwc8, kFloatLinear);
  for (size_t i = 0; i < good.size(); ++i) {
    for (const Storage& other : all) {
      std::vector<Storage> changed = good;
      changed[i] = other;
      const bool equal = other.type == good[i].type && other.layout == good[i].layout;
      if (i > 0) expect(supported(a, changed) == equal, "one tensor changed: " + std::to_string(i));
    }
  }
  expect(!supports(a, good.data(), 6, 5, 1) && !supports(a, good.data(), -1, 5, 1), "positions outside");
  expect(!supports(a, good.data(), 0, 4, 1) && !supports(a, good.data(), 0, 5, 2), "another number of tensors");
  Attributes raw;
  raw.raw_mask[0] = 1;
  expect(supported(raw, {kHalfHwc8, kHalfLinear, kFloatLinear, kHalfHwc8}), "three inputs");
  const pssdet_dcnv2_format format = format_of(raw, good.data());
  expect(format.data_type == PSSDET_F16 && format.data_layout == PSSDET_NHWC && format.offset_type == PSSDET_F32 &&
          format.offset_layout == PSSDET_NCHW && format.raw_mask == 1 && format.relu == 0,
      "the kernel's format");
}

void problems() {
  Attributes a;
  set(&a, "pads", {1, 2, 3, 4});
  set(&a, "strides", {2, 1});
  set(&a, "has_bias", {1});
  set(&a, "has_mask", {1});
  const std::vector<Shape> good = {{4, {2, 8, 10, 12}}, {4, {16, 3, 3, 8}}, {4, {2, 18, 6, 16}}, {1, {16}}, {4, {2, 9, 6, 16}}};
  pssdet_dcnv2_problem problem;
  Shape output;
  expect(problem_of(a, good.data(), &problem, &output).empty(), "a good problem");
  expect(output.rank == 4 && output.size[0] == 2 && output.size[1] == 16 && output.size[2] == 6 && output.size[3] == 16,
      "its output");
  expect(problem.pad_top == 1 && problem.pad_left == 2 && problem.pad_bottom == 3 && problem.pad_right == 4 &&
          problem.stride_h == 2 && problem.stride_w == 1 && problem.kernel_h == 3 && problem.out_channels == 16 &&
          problem.channels == 8 && problem.width == 12,
      "sizes in their places");
  for (size_t i = 0; i < good.size(); ++i) {
    for (int32_t side = 0; side < good[i].rank; ++side) {
      for (const int64_t value : {int64_t(-1), int64_t(7), int64_t(1) << 40}) {
        std::vector<Shape> bad = good;
        bad[i].size[side] = value;
        expect(!problem_of(a, bad.data(), &problem, &output).empty(),
            "input " + std::to_string(i) + " side " + std::to_string(side));
      }
    }
    std::vector<Shape> bad = good;
    bad[i].rank = 3;
    expect(!problem_of(a, bad.data(), &problem, &output).empty(), "rank 3");
  }
  std::vector<Shape> empty = good;
  for (const size_t i : {0, 2, 4}) empty[i].size[0] = 0;
  expect(problem_of(a, empty.data(), &problem, &output).empty() && problem.batch == 0 && output.size[0] == 0, "a batch of none");
  set(&a, "kernel_shape", {3, 5});
  expect(problem_of(a, good.data(), &problem, &output).find("kernel_shape") != std::string::npos, "kernel_shape is checked");
  Attributes raw;
  raw.raw_mask[0] = 1;
  const std::vector<Shape> inputs = {{4, {1, 8, 5, 5}}, {4, {8, 3, 3, 8}}, {4, {1, 27, 3, 3}}};
  expect(problem_of(raw, inputs.data(), &problem, &output).empty(), "27 channels of offsets and raw masks");
  expect(difference("y", {4, {1, 8, 5, 5}}, {4, {1, 8, 3, 3}}) == "y is [1, 8, 5, 5], not [1, 8, 3, 3]", "a readable difference");
}

}  // namespace

int main() {
  attributes();
  record();
  formats();
  problems();
  std::printf(failures ? "%d failures\n" : "all passed\n", failures);
  return failures ? 1 : 0;
}
