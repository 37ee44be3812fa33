// PssDetGenerateProposals: from the RPN's maps to proposals, as the ONNX function pssdet.GenerateProposals makes them.
//
// Inputs: score_0 .. score_{L-1}, delta_0 .. delta_{L-1}, image_size; L is the number of strides.
#include <algorithm>

#include "operators.h"
#include "pyramid.h"

namespace pssdet::tensorrt {

namespace {

constexpr double kFar = 1e6;  // pixels

const AttributeTable& table() {
  static const AttributeTable rows = {
      {"anchors", Kind::kReal, 4, PSSDET_MAX_LEVELS * PSSDET_MAX_ANCHORS * 4, -kFar, kFar, {}},
      {"strides", Kind::kInteger, 1, PSSDET_MAX_LEVELS, 1, 1 << 15, {}},
      {"pre_nms_top_n", Kind::kInteger, 1, 1, 1, PSSDET_MAX_CANDIDATES, {}},
      {"post_nms_top_n", Kind::kInteger, 1, 1, 1, PSSDET_MAX_CANDIDATES, {}},
      {"nms_threshold", Kind::kReal, 1, 1, 0, 1, {}},
      {"min_size", Kind::kReal, 1, 1, 0, kFar, {}},
      {"pixel_offset", Kind::kReal, 1, 1, 0, 1, {}},
      {"clip_multiple", Kind::kReal, 1, 1, 1, 1 << 15, {}},
  };
  return rows;
}

std::string contradiction(const Attributes& attributes) {
  const size_t levels = attributes.integers("strides").size(), values = attributes.reals("anchors").size();
  if (values % (4 * levels) == 0 && values / (4 * levels) <= PSSDET_MAX_ANCHORS) return {};
  return std::to_string(values) + " values of anchors are not four for each of up to " + std::to_string(PSSDET_MAX_ANCHORS) +
      " anchors on each of " + std::to_string(levels) + " levels";
}

std::vector<TensorSpec> inputs_of(const Attributes& attributes) {
  std::vector<TensorSpec> specs;
  for (const char* kind : {"score", "delta"}) add_maps(&specs, kind, levels_of(attributes));
  specs.push_back({"image_size", 2});
  return specs;
}

class GenerateProposals final : public Operator {
 public:
  explicit GenerateProposals(const Attributes& attributes)
      : Operator(attributes, inputs_of(attributes),
            {{"proposals", 3, Type::kFloat}, {"scores", 2, Type::kFloat}, {"count", 1, Type::kInt32}}),
        levels_(levels_of(attributes)) {
    const std::vector<float>& anchors = attributes.reals("anchors");
    fixed_.pyramid = pyramid_of(attributes);
    fixed_.anchors_per_cell = int32_t(anchors.size()) / 4 / levels_;
    std::copy(anchors.begin(), anchors.end(), fixed_.anchors);
    fixed_.pre_nms_top_n = attributes.integer("pre_nms_top_n");
    fixed_.post_nms_top_n = attributes.integer("post_nms_top_n");
    fixed_.nms_threshold = attributes.real("nms_threshold");
    fixed_.min_size = attributes.real("min_size");
    fixed_.pixel_offset = attributes.real("pixel_offset");
    fixed_.clip_multiple = attributes.real("clip_multiple");
  }

  void infer(Arithmetic& arithmetic, const Dims* inputs, Dims* outputs) const override {
    const Dim batch = inputs[0].dim[0], proposals = arithmetic.constant(fixed_.post_nms_top_n);
    outputs[0] = {3, {batch, proposals, arithmetic.constant(4)}};
    outputs[1] = {2, {batch, proposals}};
    outputs[2] = {1, {batch}};
  }

 protected:
  // All maps have one type, the scores one layout and the deltas one. The kernel could do with a layout for each map, but a builder
  // times every combination, and ten maps would have a thousand.
  bool accepts(const Storage* storages, int32_t position) const override {
    const Storage& storage = storages[position];
    if (position < levels_) return is_map(storage) && storage == storages[0];
    if (position < 2 * levels_) {
      return is_map(storage) && storage.type == storages[0].type && storage == storages[levels_];
    }
    return storage == (position == 2 * levels_ + 3 ? kInt32Linear : kFloatLinear);
  }

  std::string validate(const Shape* inputs, size_t* workspace) const override {
    const int64_t batch = inputs[0].size[0], anchors = fixed_.anchors_per_cell;
    for (int32_t i = 0; i < levels_; ++i) {
      const Shape &scores = inputs[i], &deltas = inputs[levels_ + i];
      const int64_t height = scores.size[2], width = scores.size[3];
      std::string wrong = difference(this->inputs()[size_t(i)].name, scores, {4, {batch, anchors, height, width}});
      if (wrong.empty()) {
        wrong = difference(this->inputs()[size_t(levels_ + i)].name, deltas, {4, {batch, 4 * anchors, height, width}});
      }
      if (!wrong.empty()) return wrong;
    }
    std::string wrong = difference("image_size", inputs[2 * levels_], {2, {batch, 2}});
    if (!wrong.empty()) return wrong;
    const pssdet_proposals_problem problem = problem_of([&](int32_t i) { return inputs[i]; });
    if (pssdet_proposals_workspace(&problem, workspace) == PSSDET_OK) return {};
    return "no kernel makes proposals of score_0's " + text_of(inputs[0]) + " and " + attributes().text();
  }

  pssdet_status run(const Tensor* tensors, const Call& call) const override {
    const pssdet_proposals_problem problem = problem_of([&](int32_t i) { return tensors[i].shape; });
    pssdet_layout layouts[2 * PSSDET_MAX_LEVELS];
    for (int32_t i = 0; i < 2 * levels_; ++i) layouts[i] = layout_of(tensors[i].storage);
    return pssdet_proposals_run(&problem, dtype_of(tensors[0].storage), layouts, call.inputs, call.inputs + levels_,
        static_cast<const float*>(call.inputs[2 * levels_]), static_cast<float*>(call.outputs[0]),
        static_cast<float*>(call.outputs[1]), static_cast<int32_t*>(call.outputs[2]), call.workspace, call.stream);
  }

 private:
  template <typename ShapeOf>
  pssdet_proposals_problem problem_of(ShapeOf shape_of) const {
    pssdet_proposals_problem problem = fixed_;
    problem.batch = int32_t(shape_of(0).size[0]);
    set_sizes(&problem.pyramid, shape_of);
    return problem;
  }

  int32_t levels_;
  pssdet_proposals_problem fixed_{};  // all that the attributes say of the problem
};

}  // namespace

const Description& generate_proposals() {
  static const Description description = {"PssDetGenerateProposals", 0x50475350 /* "PSGP" */, table(), contradiction,
      [](const Attributes& attributes) -> std::unique_ptr<Operator> { return std::make_unique<GenerateProposals>(attributes); }};
  return description;
}

}  // namespace pssdet::tensorrt
