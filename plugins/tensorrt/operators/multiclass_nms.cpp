// PssDetMulticlassNms: class-wise NMS and the best detections of each image, as the ONNX function pssdet.MulticlassNms finds them.
//
// Inputs: boxes [N, R, C or 1, 4], scores [N, R, C], region_count [N].
#include "operators.h"

namespace pssdet::tensorrt {

namespace {

constexpr double kAnyScore = 3e38;

const AttributeTable& table() {
  static const AttributeTable rows = {
      {"score_threshold", Kind::kReal, 1, 1, -kAnyScore, kAnyScore, {}},
      {"nms_threshold", Kind::kReal, 1, 1, 0, 1, {}},
      {"max_detections", Kind::kInteger, 1, 1, 1, PSSDET_MAX_CANDIDATES, {}},
      {"pixel_offset", Kind::kReal, 1, 1, 0, 1, {}},
  };
  return rows;
}

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

  std::string validate(const Shape* inputs, size_t* workspace) const override {
    const Shape &boxes = inputs[0], &scores = inputs[1];
    const int64_t batch = boxes.size[0], regions = boxes.size[1], classes = scores.size[2];
    std::string wrong = difference("boxes", boxes, {4, {batch, regions, boxes.size[2] == 1 ? 1 : classes, 4}});
    if (wrong.empty()) wrong = difference("scores", scores, {3, {batch, regions, classes}});
    if (wrong.empty()) wrong = difference("region_count", inputs[2], {1, {batch}});
    if (!wrong.empty()) return wrong;
    const pssdet_multiclass_nms_problem problem = problem_of(boxes, scores);
    if (pssdet_multiclass_nms_workspace(&problem, workspace) == PSSDET_OK) return {};
    return "no kernel does NMS of boxes' " + text_of(boxes) + " with " + attributes().text();
  }

  pssdet_status run(const Tensor* tensors, const Call& call) const override {
    const pssdet_multiclass_nms_problem problem = problem_of(tensors[0].shape, tensors[1].shape);
    return pssdet_multiclass_nms_run(&problem, static_cast<const float*>(call.inputs[0]),
        static_cast<const float*>(call.inputs[1]), static_cast<const int32_t*>(call.inputs[2]),
        static_cast<float*>(call.outputs[0]), static_cast<float*>(call.outputs[1]), static_cast<int32_t*>(call.outputs[2]),
        static_cast<int32_t*>(call.outputs[3]), call.workspace, call.stream);
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

const Description& multiclass_nms() {
  static const Description description = {"PssDetMulticlassNms", 0x4E4D5350 /* "PSMN" */, table(),
      [](const Attributes&) { return std::string(); },
      [](const Attributes& attributes) -> std::unique_ptr<Operator> { return std::make_unique<MulticlassNms>(attributes); }};
  return description;
}

}  // namespace pssdet::tensorrt
