// PssDetMultilevelRoiAlign: region features, each from the pyramid level that fits the region, as the ONNX function
// pssdet.MultilevelRoiAlign makes them.
//
// Inputs: map_0 .. map_{L-1}, rois; L is the number of strides.
#include "operators.h"
#include "pyramid.h"

namespace pssdet::tensorrt {

namespace {

const AttributeTable& table() {
  static const AttributeTable rows = {
      {"strides", Kind::kInteger, 1, PSSDET_MAX_LEVELS, 1, 1 << 15, {}},
      {"min_level", Kind::kInteger, 1, 1, 0, 30, {}},
      {"canonical_level", Kind::kInteger, 1, 1, 0, 30, {}},
      {"canonical_size", Kind::kReal, 1, 1, 1, 1e6, {}},
      {"pixel_offset", Kind::kReal, 1, 1, 0, 1, {}},
      {"output_size", Kind::kInteger, 1, 1, 1, PSSDET_MAX_OUTPUT_SIZE, {}},
      {"sampling_ratio", Kind::kInteger, 1, 1, 0, PSSDET_MAX_SAMPLING_RATIO, {}},  // 0: as many samples as the bin has cells
      {"aligned", Kind::kInteger, 1, 1, 0, 1, {}},  // 1: half_pixel, 0: output_half_pixel of coordinate_transformation_mode
  };
  return rows;
}

std::vector<TensorSpec> inputs_of(const Attributes& attributes) {
  std::vector<TensorSpec> specs;
  add_maps(&specs, "map", levels_of(attributes));
  specs.push_back({"rois", 3});
  return specs;
}

class MultilevelRoiAlign final : public Operator {
 public:
  explicit MultilevelRoiAlign(const Attributes& attributes)
      : Operator(attributes, inputs_of(attributes), {{"features", 4}}), levels_(levels_of(attributes)) {
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

  std::string validate(const Shape* inputs, size_t*) const override {
    const int64_t batch = inputs[0].size[0], channels = inputs[0].size[1];
    for (int32_t i = 1; i < levels_; ++i) {
      const Shape& map = inputs[i];
      std::string wrong = difference(this->inputs()[size_t(i)].name, map, {4, {batch, channels, map.size[2], map.size[3]}});
      if (!wrong.empty()) return wrong;
    }
    const Shape& rois = inputs[levels_];
    std::string wrong = difference("rois", rois, {3, {batch, rois.size[1], 4}});
    if (!wrong.empty()) return wrong;
    const pssdet_roi_align_problem problem = problem_of([&](int32_t i) { return inputs[i]; });
    if (pssdet_roi_align_check(&problem) == PSSDET_OK) return {};
    return "no kernel aligns rois' " + text_of(rois) + " in map_0's " + text_of(inputs[0]) + " with " + attributes().text();
  }

  pssdet_status run(const Tensor* tensors, const Call& call) const override {
    const pssdet_roi_align_problem problem = problem_of([&](int32_t i) { return tensors[i].shape; });
    const Storage& storage = tensors[0].storage;
    return pssdet_roi_align_run(&problem, dtype_of(storage), layout_of(storage), call.inputs,
        static_cast<const float*>(call.inputs[levels_]), call.outputs[0], call.stream);
  }

 private:
  template <typename ShapeOf>
  pssdet_roi_align_problem problem_of(ShapeOf shape_of) const {
    pssdet_roi_align_problem problem = fixed_;
    problem.batch = int32_t(shape_of(0).size[0]), problem.channels = int32_t(shape_of(0).size[1]);
    problem.regions = int32_t(shape_of(levels_).size[1]);
    set_sizes(&problem.pyramid, shape_of);
    return problem;
  }

  int32_t levels_;
  pssdet_roi_align_problem fixed_{};  // all that the attributes say of the problem
};

}  // namespace

const Description& multilevel_roi_align() {
  static const Description description = {"PssDetMultilevelRoiAlign", 0x41525350 /* "PSRA" */, table(),
      [](const Attributes&) { return std::string(); },
      [](const Attributes& attributes) -> std::unique_ptr<Operator> { return std::make_unique<MultilevelRoiAlign>(attributes); }};
  return description;
}

}  // namespace pssdet::tensorrt
