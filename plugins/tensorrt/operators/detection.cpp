// The plugins of the detection part, which do what the ONNX functions of their names in the domain pssdet do.
//
// PssDetGenerateProposals, proposals of RPN maps: score_0 .. score_{L-1}, delta_0 .. delta_{L-1}, image_size.
// PssDetMultilevelRoiAlign, region features from the level that fits each region: map_0 .. map_{L-1}, rois.
// PssDetMulticlassNms, each image's detections: boxes [N, R, C or 1, 4], scores [N, R, C], region_count [N].
// L is the number of strides.
#include <algorithm>

#include "../common/operator.h"

namespace pssdet::tensorrt {

namespace {

constexpr double kFar = 1e6;  // pixels
constexpr double kAnyScore = 3e38;

int32_t levels_of(const Attributes& attributes) { return int32_t(attributes.integers("strides").size()); }

void add_maps(std::vector<TensorSpec>* specs, const std::string& kind, int32_t levels) {
  for (int32_t i = 0; i < levels; ++i) specs->push_back({kind + "_" + std::to_string(i), 4});
}

// The pyramid without its maps' sizes.
pssdet_pyramid pyramid_of(const Attributes& attributes) {
  pssdet_pyramid pyramid{};
  const std::vector<int32_t>& strides = attributes.integers("strides");
  pyramid.levels = int32_t(strides.size());
  std::copy(strides.begin(), strides.end(), pyramid.strides);
  return pyramid;
}

void set_sizes(pssdet_pyramid* pyramid, const Tensor* maps) {
  for (int32_t i = 0; i < pyramid->levels; ++i) {
    pyramid->height[i] = int32_t(maps[i].shape.size[2]);
    pyramid->width[i] = int32_t(maps[i].shape.size[3]);
  }
}

std::string anchors_contradiction(const Attributes& attributes) {
  const size_t levels = attributes.integers("strides").size(), values = attributes.reals("anchors").size();
  if (values % (4 * levels) == 0 && values / (4 * levels) <= PSSDET_MAX_ANCHORS) return {};
  return std::to_string(values) + " values of anchors are not four for each of up to " +
      std::to_string(PSSDET_MAX_ANCHORS) + " anchors on each of " + std::to_string(levels) + " levels";
}

std::vector<TensorSpec> proposals_inputs(const Attributes& attributes) {
  std::vector<TensorSpec> specs;
  for (const char* kind : {"score", "delta"}) add_maps(&specs, kind, levels_of(attributes));
  specs.push_back({"image_size", 2});
  return specs;
}

class GenerateProposals final : public Operator {
 public:
  explicit GenerateProposals(const Attributes& attributes)
      : Operator(attributes, proposals_inputs(attributes),
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
  // One type for all maps, a layout for scores and one for deltas: a builder times every combination there is.
  bool accepts(const Storage* storages, int32_t position) const override {
    const Storage& storage = storages[position];
    if (position < levels_) return is_map(storage) && storage == storages[0];
    if (position < 2 * levels_) {
      return is_map(storage) && storage.type == storages[0].type && storage == storages[levels_];
    }
    return storage == (position == 2 * levels_ + 3 ? kInt32Linear : kFloatLinear);
  }

  std::string validate(const Tensor* inputs, size_t* workspace) const override {
    const int64_t batch = inputs[0].shape.size[0], anchors = fixed_.anchors_per_cell;
    for (int32_t i = 0; i < levels_; ++i) {
      const Shape &scores = inputs[i].shape, &deltas = inputs[levels_ + i].shape;
      const int64_t height = scores.size[2], width = scores.size[3];
      std::string wrong =
          difference(this->inputs()[size_t(i)].name, scores, {4, {batch, anchors, height, width}});
      if (wrong.empty()) {
        wrong = difference(
            this->inputs()[size_t(levels_ + i)].name, deltas, {4, {batch, 4 * anchors, height, width}});
      }
      if (!wrong.empty()) return wrong;
    }
    std::string wrong = difference("image_size", inputs[2 * levels_].shape, {2, {batch, 2}});
    if (!wrong.empty()) return wrong;
    const pssdet_proposals_problem problem = problem_of(inputs);
    if (pssdet_proposals_workspace(&problem, workspace) == PSSDET_OK) return {};
    return "no kernel makes proposals of score_0's " + text_of(inputs[0].shape) + " and " + attributes().text();
  }

  pssdet_status run(const Tensor* tensors, const Call& call) const override {
    const pssdet_proposals_problem problem = problem_of(tensors);
    pssdet_layout layouts[2 * PSSDET_MAX_LEVELS];
    for (int32_t i = 0; i < 2 * levels_; ++i) layouts[i] = layout_of(tensors[i].storage);
    return pssdet_proposals_run(&problem, dtype_of(tensors[0].storage), layouts, call.inputs,
        call.inputs + levels_, static_cast<const float*>(call.inputs[2 * levels_]),
        static_cast<float*>(call.outputs[0]), static_cast<float*>(call.outputs[1]),
        static_cast<int32_t*>(call.outputs[2]), call.workspace, call.stream);
  }

 private:
  pssdet_proposals_problem problem_of(const Tensor* tensors) const {
    pssdet_proposals_problem problem = fixed_;
    problem.batch = int32_t(tensors[0].shape.size[0]);
    set_sizes(&problem.pyramid, tensors);
    return problem;
  }

  int32_t levels_;
  pssdet_proposals_problem fixed_{};  // all that the attributes say of the problem
};

std::vector<TensorSpec> roi_align_inputs(const Attributes& attributes) {
  std::vector<TensorSpec> specs;
  add_maps(&specs, "map", levels_of(attributes));
  specs.push_back({"rois", 3});
  return specs;
}

class MultilevelRoiAlign final : public Operator {
 public:
  explicit MultilevelRoiAlign(const Attributes& attributes)
      : Operator(attributes, roi_align_inputs(attributes), {{"features", 4}}), levels_(levels_of(attributes)) {
    fixed_.pyramid = pyramid_of(attributes);
    fixed_.min_level = attributes.integer("min_level");
    fixed_.canonical_level = attributes.integer("canonical_level");
    fixed_.canonical_size = attributes.real("canonical_size");
    fixed_.pixel_offset = attributes.real("pixel_offset");
    fixed_.output_size = attributes.integer("output_size");
    fixed_.sampling_ratio = attributes.integer("sampling_ratio");
    fixed_.aligned = attributes.integer("aligned");
  }

  // [batch * regions, channels, output_size, output_size]
  void infer(Arithmetic& arithmetic, const Dims* inputs, Dims* outputs) const override {
    const Dims& rois = inputs[levels_];
    const Dim side = arithmetic.constant(fixed_.output_size);
    outputs[0] = {4, {arithmetic.product(rois.dim[0], rois.dim[1]), inputs[0].dim[1], side, side}};
  }

 protected:
  bool accepts(const Storage* storages, int32_t position) const override {
    const Storage& storage = storages[position];
    if (position < levels_) return is_map(storage) && storage == storages[0];
    if (position == levels_) return storage == kFloatLinear;
    return storage == Storage{storages[0].type, Layout::kLinear};
  }

  std::string validate(const Tensor* inputs, size_t*) const override {
    const int64_t batch = inputs[0].shape.size[0], channels = inputs[0].shape.size[1];
    for (int32_t i = 1; i < levels_; ++i) {
      const Shape& map = inputs[i].shape;
      std::string wrong =
          difference(this->inputs()[size_t(i)].name, map, {4, {batch, channels, map.size[2], map.size[3]}});
      if (!wrong.empty()) return wrong;
    }
    const Shape& rois = inputs[levels_].shape;
    std::string wrong = difference("rois", rois, {3, {batch, rois.size[1], 4}});
    if (!wrong.empty()) return wrong;
    const pssdet_roi_align_problem problem = problem_of(inputs);
    if (pssdet_roi_align_check(&problem) == PSSDET_OK) return {};
    return "no kernel aligns rois' " + text_of(rois) + " in map_0's " + text_of(inputs[0].shape) + " with " +
        attributes().text();
  }

  pssdet_status run(const Tensor* tensors, const Call& call) const override {
    const pssdet_roi_align_problem problem = problem_of(tensors);
    const Storage& storage = tensors[0].storage;
    return pssdet_roi_align_run(&problem, dtype_of(storage), layout_of(storage), call.inputs,
        static_cast<const float*>(call.inputs[levels_]), call.outputs[0], call.stream);
  }

 private:
  pssdet_roi_align_problem problem_of(const Tensor* tensors) const {
    pssdet_roi_align_problem problem = fixed_;
    problem.batch = int32_t(tensors[0].shape.size[0]), problem.channels = int32_t(tensors[0].shape.size[1]);
    problem.regions = int32_t(tensors[levels_].shape.size[1]);
    set_sizes(&problem.pyramid, tensors);
    return problem;
  }

  int32_t levels_;
  pssdet_roi_align_problem fixed_{};  // all that the attributes say of the problem
};

class MulticlassNms final : public Operator {
 public:
  explicit MulticlassNms(const Attributes& attributes)
      : Operator(attributes, {{"boxes", 4}, {"scores", 3}, {"region_count", 1}},
            {{"best_boxes", 3, Type::kFloat}, {"best_scores", 2, Type::kFloat}, {"labels", 2, Type::kInt32},
                {"count", 1, Type::kInt32}}) {
    fixed_.max_detections = attributes.integer("max_detections");
    fixed_.score_threshold = attributes.real("score_threshold");
    fixed_.nms_threshold = attributes.real("nms_threshold");
    fixed_.pixel_offset = attributes.real("pixel_offset");
  }

  void infer(Arithmetic& arithmetic, const Dims* inputs, Dims* outputs) const override {
    const Dim batch = inputs[0].dim[0], detections = arithmetic.constant(fixed_.max_detections);
    outputs[0] = {3, {batch, detections, arithmetic.constant(4)}};
    outputs[1] = outputs[2] = {2, {batch, detections}};
    outputs[3] = {1, {batch}};
  }

 protected:
  bool accepts(const Storage* storages, int32_t position) const override {
    const bool integers = position == 2 || position > 4;  // region_count, labels, count
    return storages[position] == (integers ? kInt32Linear : kFloatLinear);
  }

  std::string validate(const Tensor* inputs, size_t* workspace) const override {
    const Shape &boxes = inputs[0].shape, &scores = inputs[1].shape;
    const int64_t batch = boxes.size[0], regions = boxes.size[1], classes = scores.size[2];
    std::string wrong = difference("boxes", boxes, {4, {batch, regions, boxes.size[2] == 1 ? 1 : classes, 4}});
    if (wrong.empty()) wrong = difference("scores", scores, {3, {batch, regions, classes}});
    if (wrong.empty()) wrong = difference("region_count", inputs[2].shape, {1, {batch}});
    if (!wrong.empty()) return wrong;
    const pssdet_multiclass_nms_problem problem = problem_of(boxes, scores);
    if (pssdet_multiclass_nms_workspace(&problem, workspace) == PSSDET_OK) return {};
    return "no kernel does NMS of boxes' " + text_of(boxes) + " with " + attributes().text();
  }

  pssdet_status run(const Tensor* tensors, const Call& call) const override {
    const pssdet_multiclass_nms_problem problem = problem_of(tensors[0].shape, tensors[1].shape);
    return pssdet_multiclass_nms_run(&problem, static_cast<const float*>(call.inputs[0]),
        static_cast<const float*>(call.inputs[1]), static_cast<const int32_t*>(call.inputs[2]),
        static_cast<float*>(call.outputs[0]), static_cast<float*>(call.outputs[1]),
        static_cast<int32_t*>(call.outputs[2]), static_cast<int32_t*>(call.outputs[3]), call.workspace,
        call.stream);
  }

 private:
  pssdet_multiclass_nms_problem problem_of(const Shape& boxes, const Shape& scores) const {
    pssdet_multiclass_nms_problem problem = fixed_;
    problem.batch = int32_t(boxes.size[0]), problem.regions = int32_t(boxes.size[1]);
    problem.classes = int32_t(scores.size[2]), problem.box_classes = int32_t(boxes.size[2]);
    return problem;
  }

  pssdet_multiclass_nms_problem fixed_{};  // all that the attributes say of the problem
};

}  // namespace

const Description& generate_proposals() {
  static const Description description = {
      "PssDetGenerateProposals",
      0x50475350,  // PSGP
      {
          {"anchors", Kind::kReal, 4, PSSDET_MAX_LEVELS * PSSDET_MAX_ANCHORS * 4, -kFar, kFar, {}},
          {"strides", Kind::kInteger, 1, PSSDET_MAX_LEVELS, 1, 1 << 15, {}},
          {"pre_nms_top_n", Kind::kInteger, 1, 1, 1, PSSDET_MAX_CANDIDATES, {}},
          {"post_nms_top_n", Kind::kInteger, 1, 1, 1, PSSDET_MAX_CANDIDATES, {}},
          {"nms_threshold", Kind::kReal, 1, 1, 0, 1, {}},
          {"min_size", Kind::kReal, 1, 1, 0, kFar, {}},
          {"pixel_offset", Kind::kReal, 1, 1, 0, 1, {}},
          {"clip_multiple", Kind::kReal, 1, 1, 1, 1 << 15, {}},
      },
      make<GenerateProposals>,
      anchors_contradiction,
  };
  return description;
}

const Description& multilevel_roi_align() {
  static const Description description = {
      "PssDetMultilevelRoiAlign",
      0x41525350,  // PSRA
      {
          {"strides", Kind::kInteger, 1, PSSDET_MAX_LEVELS, 1, 1 << 15, {}},
          {"min_level", Kind::kInteger, 1, 1, 0, 30, {}},
          {"canonical_level", Kind::kInteger, 1, 1, 0, 30, {}},
          {"canonical_size", Kind::kReal, 1, 1, 1, 1e6, {}},
          {"pixel_offset", Kind::kReal, 1, 1, 0, 1, {}},
          {"output_size", Kind::kInteger, 1, 1, 1, PSSDET_MAX_OUTPUT_SIZE, {}},
          {"sampling_ratio", Kind::kInteger, 1, 1, 0, PSSDET_MAX_SAMPLING_RATIO,
              {}},  // 0: as many samples as the bin has cells
          {"aligned", Kind::kInteger, 1, 1, 0, 1,
              {}},  // 1: half_pixel, 0: output_half_pixel of coordinate_transformation_mode
      },
      make<MultilevelRoiAlign>,
  };
  return description;
}

const Description& multiclass_nms() {
  static const Description description = {
      "PssDetMulticlassNms",
      0x4E4D5350,  // PSMN
      {
          {"score_threshold", Kind::kReal, 1, 1, -kAnyScore, kAnyScore, {}},
          {"nms_threshold", Kind::kReal, 1, 1, 0, 1, {}},
          {"max_detections", Kind::kInteger, 1, 1, 1, PSSDET_MAX_CANDIDATES, {}},
          {"pixel_offset", Kind::kReal, 1, 1, 0, 1, {}},
      },
      make<MulticlassNms>,
  };
  return description;
}

}  // namespace pssdet::tensorrt
