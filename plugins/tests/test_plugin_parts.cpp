// Parts of the TensorRT plugins that need no TensorRT: attributes, their record, PssDetDeformConv2d's operator.
#include <cmath>
#include <cstring>
#include <limits>

#include "operator_parts.h"
#include "recorded_kernels.h"

namespace {

using namespace pssdet::test;

const std::vector<Given> kDeformConv = {ints("dilations", {1, 2}), ints("group", {2}),
    ints("kernel_shape", {3, 5}), ints("offset_group", {4}), ints("pads", {1, 2, 3, 4}),
    ints("strides", {2, 1}), ints("has_bias", {1}), ints("has_mask", {1}), ints("relu", {1})};

void attributes() {
  const Attributes a = attributes_of(deform_conv(), kDeformConv);
  expect(a.integers("pads") == std::vector<int32_t>{1, 2, 3, 4} && a.integer("group") == 2, "values are kept");
  const std::vector<Given> wrong = {ints("pads", {1, 1}), ints("pads", {0, 0, 0, -1}), ints("strides", {0, 1}),
      ints("dilations", {1, std::ldexp(1, 32)}), ints("group", {}), ints("group", {0}), ints("relu", {2}),
      reals("relu", {1}), ints("Pads", {0, 0, 0, 0}), ints("", {1})};
  for (const Given& given : wrong) {
    Attributes b = a;
    expect(!set(&b, given).empty() && b.text() == a.text(), std::string("refuses ") + given.name);
  }
  Attributes b = a;
  expect(set(&b, ints("pads", {0, 0, 0, -1})).find("pads is -1") == 0, "the message names attribute and value");
  expect(set(&b, ints("pads", {1})) == "pads has 1 values, not 4", "or the number of values");
  std::string error;
  b = attributes_of(deform_conv(), {ints("has_mask", {1}), ints("raw_mask", {1})});
  expect(!make_operator(deform_conv(), b, &error) && !error.empty(), "two masks contradict each other");
  b = attributes_of(deform_conv(), {ints("kernel_shape", {3, 0})});
  expect(!make_operator(deform_conv(), b, &error) && !error.empty(), "half a kernel_shape");
  expect(a.text() != Attributes(deform_conv().attributes).text(), "the text tells attributes apart");
  expect(a.text().find("dilations=1,2 group=2 kernel_shape=3,5") == 0, "and says them");
}

void real_attributes() {
  const Attributes a = attributes_of(generate_proposals(), proposals_attributes());
  expect(a.reals("anchors").size() == 24 && a.reals("anchors")[0] == -6.5f && a.real("nms_threshold") == 0.7f,
      "values are kept");
  Attributes b = a;
  const double nan = std::numeric_limits<double>::quiet_NaN(),
               infinite = std::numeric_limits<double>::infinity();
  for (const double value : {nan, infinite, -infinite, -0.001, 1.001}) {
    expect(!set(&b, reals("nms_threshold", {value})).empty(), "refuses " + std::to_string(value));
  }
  expect(set(&b, reals("strides", {4})) == "strides is not a list of integers", "reals are no integers");
  expect(set(&b, ints("pixel_offset", {0})).empty() && b.real("pixel_offset") == 0.0f, "integers are reals");
  expect(set(&b, ints("strides", std::vector<double>(9, 4))) == "strides has 9 values, not 1..8",
      "a list's bounds");
  b = a;
  expect(set(&b, reals("nms_threshold", {std::nextafter(0.7f, 1.0f)})).empty() && b.text() != a.text(),
      "the text tells neighbouring floats apart");
  std::string error;
  expect(!make_operator(generate_proposals(), Attributes(generate_proposals().attributes), &error),
      "nothing has a default");
  expect(error == "anchors is missing", "and what is missing is said");
  b = a;
  expect(
      set(&b, ints("strides", {4, 8, 16, 32, 64})).empty() && !make_operator(generate_proposals(), b, &error),
      "24 anchor values on five levels");
  b = a;
  expect(set(&b, ints("strides", {4})).empty() &&
          set(&b, reals("anchors", std::vector<double>(17 * 4, 1))).empty() &&
          !make_operator(generate_proposals(), b, &error),
      "17 anchors of a cell");
}

using Bytes = std::vector<unsigned char>;

Bytes written(const Description& description, const Attributes& attributes) {
  Bytes bytes(serialized_size(attributes) + 1, 0xEE);
  serialize(attributes, description.magic, bytes.data());
  expect(bytes.back() == 0xEE, "writes its size only");
  bytes.pop_back();
  return bytes;
}

// Any damage is refused, or read as exactly what then stands there.
void record(const Description& description, const std::vector<Given>& given) {
  const std::string name = description.name;
  const Attributes a = attributes_of(description, given);
  const Bytes bytes = written(description, a);
  Attributes b(description.attributes);
  expect(deserialize(bytes.data(), bytes.size(), description.magic, &b).empty() && b.text() == a.text(),
      name + ": reads back");
  const std::string untouched = Attributes(description.attributes).text();
  const auto refused = [&](const Bytes& from) {
    Attributes c(description.attributes);
    return !deserialize(from.data(), from.size(), description.magic, &c).empty() && c.text() == untouched;
  };
  expect(!deserialize(nullptr, 80, description.magic, &b).empty(), name + ": no bytes at all");
  for (size_t size = 0; size < bytes.size(); ++size) {
    // A vector of exactly this size, so that a sanitizer sees a read past its end.
    expect(
        refused(Bytes(bytes.begin(), bytes.begin() + long(size))), name + ": cut to " + std::to_string(size));
  }
  Bytes longer = bytes;
  longer.insert(longer.end(), {0, 0, 0, 0});
  expect(refused(longer), name + ": a word too long");
  longer[8] = static_cast<unsigned char>(longer[8] + 4);
  expect(refused(longer), name + ": a word too long, and counted");
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (const unsigned char value : {0x00, 0x01, 0x7F, 0xFF}) {
      Bytes damaged = bytes;
      damaged[at] = value;
      if (damaged == bytes) continue;
      if (at < 12) expect(refused(damaged), name + ": damaged at " + std::to_string(at));
      Attributes c(description.attributes);
      if (!deserialize(damaged.data(), damaged.size(), description.magic, &c).empty()) continue;
      expect(
          written(description, c) == damaged, name + ": read as it stands, damaged at " + std::to_string(at));
    }
  }
  Bytes next = bytes;
  next[4] = 2;
  expect(deserialize(next.data(), next.size(), description.magic, &b).find("version 2") != std::string::npos,
      name + ": names a later version");
}

void records() {
  record(deform_conv(), kDeformConv);
  record(generate_proposals(), proposals_attributes());
  record(multilevel_roi_align(), roi_align_attributes());
  record(multiclass_nms(), nms_attributes());
  const Bytes fixed = written(deform_conv(), attributes_of(deform_conv(), kDeformConv));
  const char head[] = "PSDC\1\0\0\0\104\0\0\0\1\0\0\0\2\0\0\0\2\0\0\0";
  expect(fixed.size() == 80 && std::memcmp(fixed.data(), head, 24) == 0, "DeformConv's layout is fixed");
  const Bytes counted =
      written(multilevel_roi_align(), attributes_of(multilevel_roi_align(), roi_align_attributes()));
  const char roi_head[] = "PSRA\1\0\0\0\60\0\0\0\4\0\0\0\4\0\0\0\10\0\0\0";
  expect(counted.size() == 60 && std::memcmp(counted.data(), roi_head, 24) == 0,
      "lists are preceded by their length");
  Attributes other(multiclass_nms().attributes);
  expect(!deserialize(counted.data(), counted.size(), multiclass_nms().magic, &other).empty(),
      "another plugin's record");
}

void deform_conv_formats() {
  const auto a = made(deform_conv(), {ints("has_bias", {1}), ints("has_mask", {1})});
  const auto half =
      made(deform_conv(), {ints("has_bias", {1}), ints("has_mask", {1}), ints("half_offsets", {1})});
  const auto combination = [](Storage x, Storage offset) {
    return std::vector<Storage>{x, {x.type, Layout::kLinear}, offset, kFloatLinear, offset, x};
  };
  expect(combinations(*a) == 3 && combinations(*half) == 6,
      "three combinations, and three more with half offsets");
  for (const Storage& x : {kHalfHwc8, kHalfLinear, kFloatLinear}) {
    expect(supported(*a, combination(x, kFloatLinear)), "float offsets");
  }
  for (const Storage& offset : {kHalfHwc8, kHalfLinear}) {
    expect(supported(*half, combination(kHalfHwc8, offset)) && !supported(*a, combination(kHalfHwc8, offset)),
        "half offsets where allowed");
  }
  const std::vector<Storage> good = combination(kHalfHwc8, kFloatLinear);
  for (size_t i = 1; i < good.size(); ++i) {
    for (const Storage& other : kAllStorages) {
      std::vector<Storage> changed = good;
      changed[i] = other;
      expect(supported(*a, changed) == (other == good[i]), "one tensor changed: " + std::to_string(i));
    }
  }
  expect(!a->supports(good.data(), 6, 5, 1) && !a->supports(good.data(), -1, 5, 1), "positions outside");
  expect(!a->supports(good.data(), 0, 4, 1) && !a->supports(good.data(), 0, 5, 2), "another number of tensors");
  const auto raw = made(deform_conv(), {ints("raw_mask", {1})});
  expect(supported(*raw, {kHalfHwc8, kHalfLinear, kFloatLinear, kHalfHwc8}), "three inputs");
}

void deform_conv_shapes() {
  const auto op = made(deform_conv(),
      {ints("pads", {1, 2, 3, 4}), ints("strides", {2, 1}), ints("has_bias", {1}), ints("has_mask", {1})});
  const std::vector<Shape> good = {
      shape({2, 8, 10, 12}), shape({16, 3, 3, 8}), shape({2, 18, 6, 16}), shape({16}), shape({2, 9, 6, 16})};
  size_t workspace = 1;
  expect(measured(*op, good, &workspace).empty() && workspace == 0, "a good problem needs no workspace");
  expect(inferred(*op, good) == std::vector<std::vector<int64_t>>{{2, 16, 6, 16}}, "its output");
  expect_refusals(*op, good, {});
  const auto kernel =
      made(deform_conv(), {ints("kernel_shape", {3, 5}), ints("has_bias", {1}), ints("has_mask", {1})});
  expect(measured(*kernel, good).find("kernel_shape") != std::string::npos, "kernel_shape is checked");
  const auto raw = made(deform_conv(), {ints("raw_mask", {1})});
  expect(measured(*raw, {shape({1, 8, 5, 5}), shape({8, 3, 3, 8}), shape({1, 27, 3, 3})}).empty(),
      "27 channels of offsets and raw masks");
  expect(difference("y", shape({1, 8, 5, 5}), shape({1, 8, 3, 3})) == "y is [1, 8, 5, 5], not [1, 8, 3, 3]",
      "a readable difference");
}

void deform_conv_runs() {
  const auto op = made(deform_conv(),
      {ints("pads", {1, 2, 3, 4}), ints("strides", {2, 1}), ints("dilations", {1, 2}), ints("has_bias", {1}),
          ints("has_mask", {1}), ints("relu", {1})});
  const std::vector<Shape> shapes = {shape({2, 64, 25, 33}), shape({128, 1, 3, 64}), shape({2, 6, 15, 35}),
      shape({128}), shape({2, 3, 15, 35})};
  const std::vector<Tensor> tensors =
      complete(*op, {kHalfHwc8, kHalfLinear, kFloatLinear, kFloatLinear, kFloatLinear, kHalfHwc8}, shapes);
  const void* inputs[] = {address(1), address(2), address(3), address(4), address(5)};
  void* outputs[] = {address(6)};
  recorded() = {};
  expect(
      op->launch(tensors.data(), {inputs, outputs, nullptr, -1, address(7)}).empty() && recorded().calls == 1,
      "one launch");
  const DeformConvCall& last = recorded().deform_conv;
  expect(
      last.x == address(1) && last.weight == address(2) && last.offset == address(3) && last.bias == address(4),
      "inputs");
  expect(last.mask == address(5) && last.y == address(6) && recorded().stream == address(7),
      "mask, output and stream too");
  const pssdet_dcnv2_problem& p = last.problem;
  expect(p.batch == 2 && p.channels == 64 && p.height == 25 && p.width == 33 && p.out_channels == 128, "sizes");
  expect(p.kernel_h == 1 && p.kernel_w == 3 && p.groups == 1 && p.offset_groups == 1, "the kernel's");
  expect(p.stride_h == 2 && p.stride_w == 1 && p.dilation_h == 1 && p.dilation_w == 2, "strides and dilations");
  expect(p.pad_top == 1 && p.pad_left == 2 && p.pad_bottom == 3 && p.pad_right == 4, "pads");
  const pssdet_dcnv2_format& f = last.format;
  expect(f.data_type == PSSDET_F16 && f.data_layout == PSSDET_NHWC && f.relu == 1 && f.raw_mask == 0,
      "the format of x");
  expect(f.offset_type == PSSDET_F32 && f.offset_layout == PSSDET_NCHW, "and of the offsets");
  expect(op->tactics(tensors.data()) == kTiles, "a tactic for each tile");
  for (const auto& [tactic, tile] : {std::pair{-1, PSSDET_AUTO_TILE}, {0, 0}, {kTiles - 1, kTiles - 1},
           {kTiles, PSSDET_AUTO_TILE}}) {  // the last, the library has not
    expect(op->launch(tensors.data(), {inputs, outputs, nullptr, tactic, nullptr}).empty() && last.tile == tile,
        "a tactic is a tile");
  }
  for (const pssdet_status status : {PSSDET_BAD_PROBLEM, PSSDET_CUDA_ERROR}) {
    recorded().answer = status;
    expect(!op->launch(tensors.data(), {inputs, outputs, nullptr, -1, nullptr}).empty(),
        "a failed launch is an error");
  }
  recorded() = {};
  std::vector<Tensor> wrong = tensors;
  wrong[4].shape.size[1] = 6;
  expect(
      !op->launch(wrong.data(), {inputs, outputs, nullptr, -1, nullptr}).empty(), "a mask of the wrong size");
  wrong = tensors;
  wrong[4].storage = kHalfLinear;
  expect(
      !op->launch(wrong.data(), {inputs, outputs, nullptr, -1, nullptr}).empty(), "a mask unlike the offsets");
  wrong = tensors;
  wrong[5].shape.size[3] = 34;
  expect(!op->launch(wrong.data(), {inputs, outputs, nullptr, -1, nullptr}).empty(), "an output too small");
  wrong = tensors;
  for (const size_t i : {0, 2, 4, 5}) wrong[i].shape.size[0] = 0;
  expect(op->launch(wrong.data(), {inputs, outputs, nullptr, -1, nullptr}).empty(), "no images");
  expect(recorded().calls == 0, "none of these reached the kernel");

  const auto raw = made(deform_conv(), {ints("raw_mask", {1})});
  const std::vector<Tensor> three = complete(*raw, {kFloatLinear, kFloatLinear, kFloatLinear, kFloatLinear},
      {shape({1, 8, 5, 5}), shape({16, 3, 3, 8}), shape({1, 27, 3, 3})});
  expect(raw->launch(three.data(), {inputs, outputs, nullptr, 0, nullptr}).empty() && !last.mask && !last.bias,
      "what is absent is null");
  expect(last.format.raw_mask == 1 && last.format.relu == 0 && last.format.data_type == PSSDET_F32 &&
          last.tile == PSSDET_AUTO_TILE,
      "the general kernel, which has no tiles");
}

}  // namespace

int main() {
  attributes();
  real_attributes();
  records();
  deform_conv_formats();
  deform_conv_shapes();
  deform_conv_runs();
  return summary();
}
