// Short ways to say attributes, storages and shapes, for the tests of the operators.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../tensorrt/common/operator.h"
#include "checks.h"

namespace pssdet::test {

using namespace pssdet::tensorrt;

// An attribute as somebody gives it.
struct Given {
  const char* name;
  Kind kind;
  std::vector<double> values;
};

inline Given ints(const char* name, std::vector<double> values) {
  return {name, Kind::kInteger, std::move(values)};
}
inline Given reals(const char* name, std::vector<double> values) {
  return {name, Kind::kReal, std::move(values)};
}

inline std::string set(Attributes* attributes, const Given& given) {
  return attributes->assign(given.name, given.kind, given.values);
}

inline Attributes attributes_of(const Description& description, const std::vector<Given>& all) {
  Attributes attributes(description.attributes);
  for (const Given& given : all) expect(set(&attributes, given).empty(), std::string("takes ") + given.name);
  return attributes;
}

inline std::shared_ptr<const Operator> made(const Description& description, const std::vector<Given>& all) {
  std::string wrong;
  std::shared_ptr<const Operator> op = make_operator(description, attributes_of(description, all), &wrong);
  expect(op != nullptr, std::string(description.name) + ": " + wrong);
  return op;
}

// Typical attributes of the three plugins.
inline std::vector<Given> proposals_attributes(int levels = 2) {
  std::vector<double> anchors, strides;
  for (int level = 0; level < levels; ++level) {
    strides.push_back(4 << level);
    for (int i = 0; i < 3 * 4; ++i) anchors.push_back(level * 100 + i - 6.5);
  }
  return {reals("anchors", anchors), ints("strides", strides), ints("pre_nms_top_n", {1000}),
      ints("post_nms_top_n", {300}), reals("nms_threshold", {0.7}), reals("min_size", {1.5}),
      reals("pixel_offset", {1}), reals("clip_multiple", {32})};
}

inline std::vector<Given> roi_align_attributes() {
  return {ints("strides", {4, 8, 16, 32}), ints("min_level", {2}), ints("canonical_level", {4}),
      reals("canonical_size", {224}), reals("pixel_offset", {1}), ints("output_size", {7}),
      ints("sampling_ratio", {2}), ints("aligned", {1})};
}

inline std::vector<Given> nms_attributes() {
  return {reals("score_threshold", {0.05}), reals("nms_threshold", {0.5}), ints("max_detections", {100}),
      reals("pixel_offset", {1})};
}

constexpr Storage kFloatHwc8{Type::kFloat, Layout::kHwc8}, kNone{};
const std::vector<Storage> kAllStorages = {
    kHalfLinear, kHalfHwc8, kFloatLinear, kFloatHwc8, kInt32Linear, kNone};

// Whether all prefixes are supported, as a builder asks.
inline bool supported(const Operator& op, const std::vector<Storage>& storages) {
  const int32_t outputs = int32_t(op.outputs().size()), inputs = int32_t(storages.size()) - outputs;
  for (size_t i = 0; i < storages.size(); ++i) {
    if (!op.supports(storages.data(), int32_t(i), inputs, outputs)) return false;
  }
  return true;
}

// How many combinations of storages a builder finds.
inline int combinations(const Operator& op, std::vector<Storage> begun = {}) {
  const int32_t inputs = int32_t(op.inputs().size()), outputs = int32_t(op.outputs().size());
  if (int32_t(begun.size()) == inputs + outputs) return 1;
  int found = 0;
  for (const Storage& next : kAllStorages) {
    begun.push_back(next);
    if (op.supports(begun.data(), int32_t(begun.size()) - 1, inputs, outputs)) found += combinations(op, begun);
    begun.pop_back();
  }
  return found;
}

inline Shape shape(const std::vector<int64_t>& sizes) {
  Shape shape{int32_t(sizes.size()), {}};
  for (size_t i = 0; i < sizes.size(); ++i) shape.size[i] = sizes[i];
  return shape;
}

inline std::string measured(const Operator& op, const std::vector<Shape>& inputs, size_t* workspace = nullptr) {
  size_t bytes = 0;
  std::vector<Tensor> tensors;
  for (const Shape& shape : inputs) tensors.push_back({{}, shape});
  const std::string wrong = op.workspace(tensors.data(), &bytes);
  if (workspace) *workspace = bytes;
  return wrong;
}

inline std::vector<std::vector<int64_t>> inferred(const Operator& op, const std::vector<Shape>& inputs) {
  Numbers numbers;
  Dims sides[kMostTensors]{}, results[kMostTensors]{};
  for (size_t i = 0; i < inputs.size(); ++i) {
    sides[i].rank = inputs[i].rank;
    for (int32_t j = 0; j < inputs[i].rank; ++j) sides[i].dim[j].number = inputs[i].size[j];
  }
  op.infer(numbers, sides, results);
  std::vector<std::vector<int64_t>> all;
  for (size_t i = 0; i < op.outputs().size(); ++i) {
    all.emplace_back();
    for (int32_t j = 0; j < results[i].rank; ++j) all.back().push_back(results[i].dim[j].number);
  }
  return all;
}

// Each input's sides changed one at a time, and its rank: `workspace` must refuse that, but for the free sides.
inline void expect_refusals(
    const Operator& op, const std::vector<Shape>& good, const std::vector<std::pair<size_t, int>>& free) {
  for (size_t i = 0; i < good.size(); ++i) {
    const std::string name = op.inputs()[i].name;
    for (int32_t side = 0; side < good[i].rank; ++side) {
      for (const int64_t value : {int64_t(-1), int64_t(7), int64_t(1) << 40}) {
        bool is_free = false;
        for (const auto& [input, axis] : free) is_free |= input == i && axis == side && value == 7;
        std::vector<Shape> changed = good;
        changed[i].size[side] = value;
        expect(measured(op, changed).empty() == is_free,
            name + " side " + std::to_string(side) + " = " + std::to_string(value));
      }
    }
    std::vector<Shape> changed = good;
    changed[i].rank = good[i].rank - 1;
    expect(measured(op, changed).find(name) == 0, name + " of another rank");
  }
}

inline std::vector<Tensor> tensors_of(const std::vector<Storage>& storages, const std::vector<Shape>& shapes) {
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < shapes.size(); ++i) tensors.push_back({storages[i], shapes[i]});
  return tensors;
}

// Inputs and the outputs that they make.
inline std::vector<Tensor> complete(
    const Operator& op, const std::vector<Storage>& storages, std::vector<Shape> shapes) {
  for (const auto& sizes : inferred(op, shapes)) shapes.push_back(shape(sizes));
  return tensors_of(storages, shapes);
}

}  // namespace pssdet::test
