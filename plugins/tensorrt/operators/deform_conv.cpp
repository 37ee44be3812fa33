// PssDetDeformConv2d: ONNX DeformConv with the weights in the kernel's order.
//
// Inputs are in ONNX's order (X, W, offset, B, mask). Attributes announce optional ones:
// TensorRT's parser leaves none empty.
#include <algorithm>
#include <iterator>
#include <utility>

#include "../common/operator.h"

namespace pssdet::tensorrt {

namespace {

constexpr int32_t kMost = 1 << 15;  // keeps every sum and product of attributes within 32 bits

std::string contradiction(const Attributes& attributes) {
  const std::vector<int32_t>& kernel = attributes.integers("kernel_shape");
  if (attributes.integer("has_mask") && attributes.integer("raw_mask"))
    return "has_mask and raw_mask exclude each other";
  if ((kernel[0] == 0) != (kernel[1] == 0)) return "one side of kernel_shape is 0";
  return {};
}

// The format table. Weights have x's type, the bias is float, both linear; y is as x, the mask as the offset.
struct Row {
  Storage data, offset;
};

constexpr Row kRows[] = {
    {kHalfHwc8, kFloatLinear},
    {kHalfLinear, kFloatLinear},
    {kFloatLinear, kFloatLinear},
    {kHalfHwc8, kHalfHwc8},
    {kHalfHwc8, kHalfLinear},
    {kHalfLinear, kHalfLinear},
};

std::vector<TensorSpec> inputs_of(const Attributes& attributes) {
  std::vector<TensorSpec> specs = {{"x", 4}, {"weight", 4}, {"offset", 4}};
  if (attributes.integer("has_bias")) specs.push_back({"B", 1});
  if (attributes.integer("has_mask")) specs.push_back({"mask", 4});
  return specs;
}

class DeformConv final : public Operator {
 public:
  explicit DeformConv(const Attributes& attributes)
      : Operator(attributes, inputs_of(attributes), {{"y", 4}}), raw_mask_(attributes.integer("raw_mask")),
        relu_(attributes.integer("relu")), half_offsets_(attributes.integer("half_offsets") == 1),
        kernel_(attributes.integers("kernel_shape")) {
    const std::vector<int32_t>&strides = attributes.integers("strides"),
          &dilations = attributes.integers("dilations"), &pads = attributes.integers("pads");
    fixed_.stride_h = strides[0], fixed_.stride_w = strides[1];
    fixed_.dilation_h = dilations[0], fixed_.dilation_w = dilations[1];
    fixed_.pad_top = pads[0], fixed_.pad_left = pads[1], fixed_.pad_bottom = pads[2],
    fixed_.pad_right = pads[3];
    fixed_.groups = attributes.integer("group"), fixed_.offset_groups = attributes.integer("offset_group");
    const bool has_bias = attributes.integer("has_bias"), has_mask = attributes.integer("has_mask");
    bias_ = has_bias ? 3 : -1;
    mask_ = has_mask ? 3 + has_bias : -1;
  }

  // [batch, output channels, height, width]
  void infer(Arithmetic& arithmetic, const Dims* inputs, Dims* outputs) const override {
    const Dims &x = inputs[0], &weight = inputs[1];
    // (side + both pads - dilation * (kernel - 1) - 1) / stride + 1, rounded down
    const auto side = [&](Dim in, Dim kernel, int32_t pads, int32_t dilation, int32_t stride) {
      const Dim spread = arithmetic.product(kernel, arithmetic.constant(dilation));
      const Dim room =
          arithmetic.difference(arithmetic.sum(in, arithmetic.constant(pads + dilation - 1)), spread);
      return arithmetic.sum(arithmetic.quotient(room, arithmetic.constant(stride)), arithmetic.constant(1));
    };
    const pssdet_dcnv2_problem& p = fixed_;
    outputs[0] = {4,
        {x.dim[0], weight.dim[0],
            side(x.dim[2], weight.dim[1], p.pad_top + p.pad_bottom, p.dilation_h, p.stride_h),
            side(x.dim[3], weight.dim[2], p.pad_left + p.pad_right, p.dilation_w, p.stride_w)}};
  }

  int32_t tactics(const Tensor* tensors) const override {
    const pssdet_dcnv2_problem problem = problem_of(tensors[0].shape, tensors[1].shape);
    const pssdet_dcnv2_format format = format_of(tensors);
    return problem.batch ? pssdet_dcnv2_tile_count(&problem, &format) : 0;
  }

 protected:
  bool accepts(const Storage* storages, int32_t position) const override {
    return std::any_of(std::begin(kRows), std::end(kRows), [&](const Row& row) {
      if (row.offset != kFloatLinear && !half_offsets_) return false;
      for (int32_t i = 0; i <= position; ++i) {
        if (storages[i] != expected(row, i)) return false;
      }
      return true;
    });
  }

  std::string validate(const Tensor* inputs, size_t*) const override {
    const Shape &x = inputs[0].shape,
                &weight = inputs[1].shape;  // NCHW; out channels, kernel height, kernel width, channels / group
    if (kernel_[0] && (weight.size[1] != kernel_[0] || weight.size[2] != kernel_[1])) {
      return "the weight's " + text_of(weight) + " contradicts kernel_shape";
    }
    if (x.size[1] != weight.size[3] * fixed_.groups) {
      return "the weight's " + text_of(weight) + " does not suit x's " + text_of(x);
    }
    const pssdet_dcnv2_problem problem = problem_of(x, weight);
    int32_t out_h = 0, out_w = 0;
    if (pssdet_dcnv2_output_size(&problem, &out_h, &out_w) != PSSDET_OK) {
      return "no kernel convolves x's " + text_of(x) + " with the weight's " + text_of(weight) + " and " +
          attributes().text();
    }
    const int64_t masks = weight.size[1] * weight.size[2] * fixed_.offset_groups;
    std::string wrong =
        difference("offset", inputs[2].shape, {4, {x.size[0], masks * (raw_mask_ ? 3 : 2), out_h, out_w}});
    if (wrong.empty() && bias_ >= 0) wrong = difference("B", inputs[bias_].shape, {1, {weight.size[0]}});
    if (wrong.empty() && mask_ >= 0)
      wrong = difference("mask", inputs[mask_].shape, {4, {x.size[0], masks, out_h, out_w}});
    return wrong;
  }

  // The tactic is a wish, passed over where the kernel has no such tile.
  pssdet_status run(const Tensor* tensors, const Call& call) const override {
    const pssdet_dcnv2_problem problem = problem_of(tensors[0].shape, tensors[1].shape);
    const pssdet_dcnv2_format format = format_of(tensors);
    const auto optional = [&](int32_t position) { return position < 0 ? nullptr : call.inputs[position]; };
    const bool has_tile = call.tactic >= 0 && call.tactic < pssdet_dcnv2_tile_count(&problem, &format);
    return pssdet_dcnv2_run(&problem, &format, call.inputs[0], call.inputs[2], optional(mask_), call.inputs[1],
        static_cast<const float*>(optional(bias_)), call.outputs[0], has_tile ? call.tactic : PSSDET_AUTO_TILE,
        call.stream);
  }

 private:
  Storage expected(const Row& row, int32_t position) const {
    if (position == 1) return {row.data.type, Layout::kLinear};
    if (position == 2 || position == mask_) return row.offset;
    return position == bias_ ? kFloatLinear : row.data;
  }

  pssdet_dcnv2_problem problem_of(const Shape& x, const Shape& weight) const {
    pssdet_dcnv2_problem problem = fixed_;
    problem.batch = int32_t(x.size[0]), problem.channels = int32_t(x.size[1]);
    problem.height = int32_t(x.size[2]), problem.width = int32_t(x.size[3]);
    problem.out_channels = int32_t(weight.size[0]);
    problem.kernel_h = int32_t(weight.size[1]), problem.kernel_w = int32_t(weight.size[2]);
    return problem;
  }

  pssdet_dcnv2_format format_of(const Tensor* tensors) const {
    const Storage &x = tensors[0].storage, &offset = tensors[2].storage;
    return {dtype_of(x), layout_of(x), dtype_of(offset), layout_of(offset), raw_mask_, relu_};
  }

  int32_t raw_mask_, relu_;
  bool half_offsets_;
  std::vector<int32_t> kernel_;
  int32_t bias_, mask_;           // positions among the inputs; -1: absent
  pssdet_dcnv2_problem fixed_{};  // all that the attributes say of the problem
};

}  // namespace

const Description& deform_conv() {
  static const Description description = {
      "PssDetDeformConv2d",
      0x43445350,  // PSDC
      {
          {"dilations", Kind::kInteger, 2, 2, 1, kMost, {1, 1}},
          {"group", Kind::kInteger, 1, 1, 1, kMost, {1}},
          {"kernel_shape", Kind::kInteger, 2, 2, 0, kMost, {0, 0}},  // zeros: as the weight has it
          {"offset_group", Kind::kInteger, 1, 1, 1, kMost, {1}},
          {"pads", Kind::kInteger, 4, 4, 0, kMost, {0, 0, 0, 0}},  // top, left, bottom, right
          {"strides", Kind::kInteger, 2, 2, 1, kMost, {1, 1}},
          {"has_bias", Kind::kInteger, 1, 1, 0, 1, {0}},
          {"has_mask", Kind::kInteger, 1, 1, 0, 1, {0}},
          {"raw_mask", Kind::kInteger, 1, 1, 0, 1,
              {0}},  // the masks before their sigmoid are the last channels of the offset input
          {"relu", Kind::kInteger, 1, 1, 0, 1, {0}},
          {"half_offsets", Kind::kInteger, 1, 1, 0, 1,
              {0}},  // offset and mask may be half; a weakly typed builder then uses it
      },
      make<DeformConv>,
      contradiction,
  };
  return description;
}

}  // namespace pssdet::tensorrt
