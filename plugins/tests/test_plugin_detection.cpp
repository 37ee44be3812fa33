// The three detection plugins' operators: signatures, formats, shapes, workspaces, what they hand to kernels.
#include <algorithm>

#include "operator_parts.h"
#include "recorded_kernels.h"

namespace {

using namespace pssdet::test;
using Sizes = std::vector<std::vector<int64_t>>;

// Calls the kernel with addresses 1, 2, ... for inputs, then outputs, 90 for the workspace, 91 for the stream.
std::string launched(const Operator& op, const std::vector<Tensor>& tensors) {
  const void* inputs[kMostTensors];
  void* outputs[kMostTensors];
  for (int i = 0; i < kMostTensors; ++i)
    inputs[i] = address(i + 1), outputs[i] = address(i + 1 + int(op.inputs().size()));
  return op.launch(tensors.data(), {inputs, outputs, address(90), -1, address(91)});
}

// What must not reach a kernel: a batch of none, silently; other output sizes and a failed launch, with words.
void expect_guarded(const Operator& op, const std::vector<Tensor>& good) {
  recorded() = {};
  std::vector<Tensor> none = good;
  for (Tensor& tensor : none) tensor.shape.size[0] = 0;
  expect(launched(op, none).empty(), "a batch of none is no work");
  for (size_t i = op.inputs().size(); i < good.size(); ++i) {
    std::vector<Tensor> wrong = good;
    --wrong[i].shape.size[wrong[i].shape.rank - 1];
    expect(launched(op, wrong).find(op.outputs()[i - op.inputs().size()].name) == 0, "an output too small");
    wrong = good;
    wrong[i].storage = kHalfHwc8;
    expect(!launched(op, wrong).empty(), "an output in a strange format");
  }
  expect(recorded().calls == 0, "none of these reached the kernel");
  recorded().answer = PSSDET_CUDA_ERROR;
  expect(!launched(op, good).empty() && recorded().calls == 1, "a failed launch is an error");
  recorded() = {};
  expect(op.tactics(good.data()) == 0, "there is no choice");
}

const std::vector<Shape> kRpn = {shape({2, 3, 20, 24}), shape({2, 3, 10, 12}), shape({2, 12, 20, 24}),
    shape({2, 12, 10, 12}), shape({2, 2})};

void proposals_formats() {
  const auto op = made(generate_proposals(), proposals_attributes());
  const auto combination = [](Storage scores, Storage deltas) {
    return std::vector<Storage>{
        scores, scores, deltas, deltas, kFloatLinear, kFloatLinear, kFloatLinear, kInt32Linear};
  };
  for (const Storage& scores : kAllStorages) {
    for (const Storage& deltas : kAllStorages) {
      const bool good = is_map(scores) && is_map(deltas) && scores.type == deltas.type;
      expect(supported(*op, combination(scores, deltas)) == good, "scores and deltas have one type");
    }
  }
  expect(combinations(*op) == 5, "a builder has few combinations to time");
  expect(combinations(*made(generate_proposals(), proposals_attributes(5))) == 5, "also with five levels");
  expect(op->outputs()[0].type == Type::kFloat && op->outputs()[1].type == Type::kFloat &&
          op->outputs()[2].type == Type::kInt32,
      "types of the outputs");
}

void proposals_shapes() {
  const auto op = made(generate_proposals(), proposals_attributes());
  expect(inferred(*op, kRpn) == Sizes{{2, 300, 4}, {2, 300}, {2}}, "its outputs");
  expect_refusals(*op, kRpn, {});
  size_t workspace = 0, larger = 0, none = 0;
  expect(measured(*op, kRpn, &workspace).empty(), "a good problem");
  std::vector<Shape> more = kRpn;
  for (Shape& each : more) each.size[0] = 8;
  expect(measured(*op, more, &larger).empty() && larger >= workspace, "a larger batch needs no less workspace");
  pssdet_proposals_problem problem{};
  problem.batch = 8;
  problem.pyramid = {2, {20, 10}, {24, 12}, {4, 8}};
  problem.anchors_per_cell = 3;
  const std::vector<float> anchors = op->attributes().reals("anchors");
  std::copy(anchors.begin(), anchors.end(), problem.anchors);
  problem.pre_nms_top_n = 1000, problem.post_nms_top_n = 300;
  problem.nms_threshold = 0.7f, problem.min_size = 1.5f, problem.pixel_offset = 1, problem.clip_multiple = 32;
  size_t asked = 0;
  expect(pssdet_proposals_workspace(&problem, &asked) == PSSDET_OK && asked == larger,
      "it is what the kernel asks for");
  for (Shape& each : more) each.size[0] = 0;
  expect(measured(*op, more, &none).empty() && none <= workspace, "a batch of none is measured as one");
}

void proposals_run() {
  const auto op = made(generate_proposals(), proposals_attributes());
  const std::vector<Tensor> tensors = complete(*op,
      {kHalfHwc8, kHalfHwc8, kHalfLinear, kHalfLinear, kFloatLinear, kFloatLinear, kFloatLinear, kInt32Linear},
      kRpn);
  expect_guarded(*op, tensors);
  expect(launched(*op, tensors).empty() && recorded().calls == 1, "one launch");
  const ProposalsCall& call = recorded().proposals;
  const pssdet_proposals_problem& p = call.problem;
  expect(
      p.batch == 2 && p.anchors_per_cell == 3 && p.pre_nms_top_n == 1000 && p.post_nms_top_n == 300, "counts");
  expect(p.nms_threshold == 0.7f && p.min_size == 1.5f && p.pixel_offset == 1.0f && p.clip_multiple == 32.0f,
      "numbers");
  expect(p.pyramid.levels == 2 && p.pyramid.height[0] == 20 && p.pyramid.width[0] == 24 &&
          p.pyramid.height[1] == 10 && p.pyramid.width[1] == 12 && p.pyramid.strides[0] == 4 &&
          p.pyramid.strides[1] == 8,
      "the pyramid");
  expect(p.anchors[0] == -6.5f && p.anchors[12] == 93.5f && p.anchors[23] == 104.5f, "anchors, level by level");
  expect(call.type == PSSDET_F16 && call.layouts[0] == PSSDET_NHWC && call.layouts[1] == PSSDET_NHWC &&
          call.layouts[2] == PSSDET_NCHW && call.layouts[3] == PSSDET_NCHW,
      "formats");
  expect(call.scores[0] == address(1) && call.scores[1] == address(2) && call.deltas[0] == address(3) &&
          call.deltas[1] == address(4) && call.image_size == address(5),
      "inputs");
  expect(call.proposals == address(6) && call.proposal_scores == address(7) && call.count == address(8),
      "outputs");
  expect(recorded().workspace == address(90) && recorded().stream == address(91), "workspace and stream");
}

const std::vector<Shape> kMaps = {shape({2, 16, 40, 48}), shape({2, 16, 20, 24}), shape({2, 16, 10, 12}),
    shape({2, 16, 5, 6}), shape({2, 30, 4})};

void roi_align() {
  const auto op = made(multilevel_roi_align(), roi_align_attributes());
  const auto combination = [](Storage maps) {
    return std::vector<Storage>{maps, maps, maps, maps, kFloatLinear, {maps.type, Layout::kLinear}};
  };
  for (const Storage& maps : kAllStorages)
    expect(supported(*op, combination(maps)) == is_map(maps), "formats of the maps");
  expect(combinations(*op) == 3, "a builder has three combinations to time");
  expect(op->outputs()[0].type == Type::kForeign, "the output has the maps' type");

  expect(inferred(*op, kMaps) == Sizes{{60, 16, 7, 7}}, "its output");
  std::vector<std::pair<size_t, int>> free = {{4, 1}};
  for (size_t i = 0; i < 4; ++i) free.insert(free.end(), {{i, 2}, {i, 3}});
  expect_refusals(*op, kMaps, free);

  const std::vector<Tensor> tensors = complete(*op, combination(kHalfHwc8), kMaps);
  expect_guarded(*op, tensors);
  expect(launched(*op, tensors).empty() && recorded().calls == 1, "one launch");
  const RoiAlignCall& call = recorded().roi_align;
  const pssdet_roi_align_problem& p = call.problem;
  expect(p.batch == 2 && p.regions == 30 && p.channels == 16 && p.output_size == 7 && p.sampling_ratio == 2,
      "counts");
  expect(p.min_level == 2 && p.canonical_level == 4 && p.canonical_size == 224.0f && p.pixel_offset == 1.0f &&
          p.aligned == 1,
      "numbers");
  expect(p.pyramid.levels == 4 && p.pyramid.height[0] == 40 && p.pyramid.width[3] == 6 &&
          p.pyramid.strides[3] == 32,
      "the pyramid");
  expect(call.type == PSSDET_F16 && call.layout == PSSDET_NHWC, "format");
  expect(call.maps[0] == address(1) && call.maps[3] == address(4) && call.rois == address(5) &&
          call.features == address(6),
      "tensors");
  expect(recorded().stream == address(91), "stream");
}

const std::vector<Shape> kScored = {shape({2, 30, 9, 4}), shape({2, 30, 9}), shape({2})};

void nms() {
  const auto op = made(multiclass_nms(), nms_attributes());
  const std::vector<Storage> storages = {
      kFloatLinear, kFloatLinear, kInt32Linear, kFloatLinear, kFloatLinear, kInt32Linear, kInt32Linear};
  expect(supported(*op, storages) && combinations(*op) == 1, "one combination");
  const std::vector<TensorSpec>& outputs = op->outputs();
  expect(outputs[0].type == Type::kFloat && outputs[1].type == Type::kFloat &&
          outputs[2].type == Type::kInt32 && outputs[3].type == Type::kInt32,
      "types of the outputs");

  expect(inferred(*op, kScored) == Sizes{{2, 100, 4}, {2, 100}, {2, 100}, {2}}, "its outputs");
  expect_refusals(*op, kScored, {});
  std::vector<Shape> shared = kScored;
  shared[0].size[2] = 1;
  expect(measured(*op, shared).empty(), "the classes may share their boxes");
  size_t workspace = 0, asked = 0;
  const pssdet_multiclass_nms_problem problem = {2, 30, 9, 9, 100, 0.05f, 0.5f, 1.0f};
  expect(measured(*op, kScored, &workspace).empty() &&
          pssdet_multiclass_nms_workspace(&problem, &asked) == PSSDET_OK && workspace == asked,
      "the workspace is what the kernel asks for");
  std::vector<Shape> many = kScored;
  many[0].size[1] = many[1].size[1] = PSSDET_MAX_CANDIDATES + 1;
  expect(!measured(*op, many).empty(), "more regions than the kernel takes");

  const std::vector<Tensor> tensors = complete(*op, storages, kScored);
  expect_guarded(*op, tensors);
  expect(launched(*op, tensors).empty() && recorded().calls == 1, "one launch");
  const MulticlassNmsCall& call = recorded().nms;
  const pssdet_multiclass_nms_problem& p = call.problem;
  expect(p.batch == 2 && p.regions == 30 && p.classes == 9 && p.box_classes == 9 && p.max_detections == 100,
      "counts");
  expect(p.score_threshold == 0.05f && p.nms_threshold == 0.5f && p.pixel_offset == 1.0f, "numbers");
  expect(call.boxes == address(1) && call.scores == address(2) && call.region_count == address(3), "inputs");
  expect(call.best_boxes == address(4) && call.best_scores == address(5) && call.labels == address(6) &&
          call.count == address(7),
      "outputs");
  expect(recorded().workspace == address(90) && recorded().stream == address(91), "workspace and stream");
}

}  // namespace

int main() {
  proposals_formats();
  proposals_shapes();
  proposals_run();
  roi_align();
  nms();
  return summary();
}
