#include "tensors.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace pssdet::tensorrt::deform_conv {

namespace {

// The format table. Weights have x's type, the bias is float32, both in NCHW order; y is as x is, the mask as the offset is.
struct Row {
  pssdet_dtype data_type;
  pssdet_layout data_layout;
  pssdet_dtype offset_type;
  pssdet_layout offset_layout;
  bool asks_half_offsets;
};

constexpr Row kRows[] = {
    {PSSDET_F16, PSSDET_NHWC, PSSDET_F32, PSSDET_NCHW, false},
    {PSSDET_F16, PSSDET_NCHW, PSSDET_F32, PSSDET_NCHW, false},
    {PSSDET_F32, PSSDET_NCHW, PSSDET_F32, PSSDET_NCHW, false},
    {PSSDET_F16, PSSDET_NHWC, PSSDET_F16, PSSDET_NHWC, true},
    {PSSDET_F16, PSSDET_NHWC, PSSDET_F16, PSSDET_NCHW, true},
    {PSSDET_F16, PSSDET_NCHW, PSSDET_F16, PSSDET_NCHW, true},
};

Storage expected(const Row& row, Role role) {
  switch (role) {
    case Role::kX:
    case Role::kY: return {row.data_type, row.data_layout};
    case Role::kWeight: return {row.data_type, PSSDET_NCHW};
    case Role::kBias: return {PSSDET_F32, PSSDET_NCHW};
    case Role::kOffset:
    case Role::kMask: return {row.offset_type, row.offset_layout};
  }
  return {kForeign, kForeign};
}

bool matches(const Row& row, const Signature& signature, const Storage* tensors, int32_t last) {
  for (int32_t i = 0; i <= last; ++i) {
    const Storage wanted = expected(row, signature.role(i));
    if (tensors[i].type != wanted.type || tensors[i].layout != wanted.layout) return false;
  }
  return true;
}

std::string text_of(const Shape& shape) {
  std::string text = "[";
  for (int32_t i = 0; i < shape.rank; ++i) text += (i ? ", " : "") + std::to_string(shape.size[i]);
  return text + "]";
}

}  // namespace

Signature::Signature(const Attributes& attributes) {
  const auto add = [this](Role role) { roles_[tensors_++] = role; };
  add(Role::kX);
  add(Role::kWeight);
  add(Role::kOffset);
  if (attributes.has_bias[0]) add(Role::kBias);
  if (attributes.has_mask[0]) add(Role::kMask);
  add(Role::kY);
}

int32_t Signature::position(Role role) const {
  const Role* found = std::find(roles_, roles_ + tensors_, role);
  return found == roles_ + tensors_ ? -1 : int32_t(found - roles_);
}

bool supports(const Attributes& attributes, const Storage* tensors, int32_t position, int32_t inputs, int32_t outputs) {
  const Signature signature(attributes);
  if (inputs != signature.inputs() || outputs != 1 || position < 0 || position >= signature.tensors()) return false;
  return std::any_of(std::begin(kRows), std::end(kRows), [&](const Row& row) {
    return (!row.asks_half_offsets || attributes.half_offsets[0]) && matches(row, signature, tensors, position);
  });
}

pssdet_dcnv2_format format_of(const Attributes& attributes, const Storage* tensors) {
  const Storage &x = tensors[0], &offset = tensors[2];
  return {pssdet_dtype(x.type), pssdet_layout(x.layout), pssdet_dtype(offset.type), pssdet_layout(offset.layout),
      attributes.raw_mask[0], attributes.relu[0]};
}

std::string difference(const char* name, const Shape& shape, const Shape& expected) {
  if (shape.rank == expected.rank && std::equal(shape.size, shape.size + shape.rank, expected.size)) return {};
  return std::string(name) + " is " + text_of(shape) + ", not " + text_of(expected);
}

std::string problem_of(const Attributes& attributes, const Shape* inputs, pssdet_dcnv2_problem* problem, Shape* output) {
  const Signature signature(attributes);
  for (int32_t i = 0; i < signature.inputs(); ++i) {
    const int32_t rank = signature.role(i) == Role::kBias ? 1 : 4;
    const auto impossible = [](int64_t side) { return side < 0 || side > INT32_MAX; };
    if (inputs[i].rank != rank || std::any_of(inputs[i].size, inputs[i].size + rank, impossible)) {
      return "input " + std::to_string(i) + " is " + text_of(inputs[i]) + ", which has not " + std::to_string(rank) +
          " possible sides";
    }
  }
  const int64_t *x = inputs[0].size,
                *weight = inputs[1].size;  // NCHW; out channels, kernel height, kernel width, channels / group
  const Attributes& a = attributes;
  if (a.kernel_shape[0] && (weight[1] != a.kernel_shape[0] || weight[2] != a.kernel_shape[1])) {
    return "the weight's " + text_of(inputs[1]) + " contradicts kernel_shape";
  }
  if (x[1] != weight[3] * a.group[0]) return "the weight's " + text_of(inputs[1]) + " does not suit x's " + text_of(inputs[0]);
  *problem = {int32_t(std::max<int64_t>(x[0], 1)), int32_t(x[1]), int32_t(x[2]), int32_t(x[3]), int32_t(weight[0]),
      int32_t(weight[1]), int32_t(weight[2]), a.strides[0], a.strides[1], a.dilations[0], a.dilations[1], a.pads[0], a.pads[1],
      a.pads[2], a.pads[3], a.group[0], a.offset_group[0]};
  int32_t out_h = 0, out_w = 0;
  if (pssdet_dcnv2_output_size(problem, &out_h, &out_w) != PSSDET_OK) {
    return "no kernel convolves x's " + text_of(inputs[0]) + " with the weight's " + text_of(inputs[1]) + " and " + text_of(a);
  }
  problem->batch = int32_t(x[0]);
  *output = {4, {x[0], weight[0], out_h, out_w}};
  const int64_t masks = weight[1] * weight[2] * a.offset_group[0];
  std::string wrong = difference("offset", inputs[2], {4, {x[0], masks * (a.raw_mask[0] ? 3 : 2), out_h, out_w}});
  const int32_t bias = signature.position(Role::kBias), mask = signature.position(Role::kMask);
  if (wrong.empty() && bias >= 0) wrong = difference("B", inputs[bias], {1, {weight[0]}});
  if (wrong.empty() && mask >= 0) wrong = difference("mask", inputs[mask], {4, {x[0], masks, out_h, out_w}});
  return wrong;
}

}  // namespace pssdet::tensorrt::deform_conv
