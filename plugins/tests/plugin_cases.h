// The plugins as TensorRT's tests hold them: attributes as fields, and tensors that go with them.
#pragma once

#include <string>
#include <vector>

#include "plugin_handle.h"

namespace plugin_host {

using nvinfer1::DataType;
using nvinfer1::TensorFormat;

// A plugin with valid attributes and tensors: its inputs, then its outputs; the first is half if it can be.
struct Case {
  std::string plugin;
  Fields fields;
  std::vector<Tensor> tensors;
  int32_t attributes;  // how many there are
  bool has_workspace;
};

inline const std::vector<Case>& all_cases() {
  static const int32_t pads[] = {1, 2, 3, 4}, strides[] = {2, 1}, dilations[] = {1, 2}, one = 1, four = 4,
                       two = 2, seven = 7, levels[] = {4, 8, 16, 32}, top[] = {1000, 300}, detections = 100;
  static const float anchors[] = {-8, -4, 7, 3, -4, -8, 3, 7, -16, -8, 15, 7, -8, -16, 7, 15, -9, -9, 9, 9, -3,
      -3, 3, 3, -2, -2, 2, 2, -1, -1, 1, 1};
  static const float point_seven = 0.7f, half = 0.5f, zero = 0, unit = 1, multiple = 32, canonical = 224;
  using Type = nvinfer1::PluginFieldType;
  constexpr auto kHalf = DataType::kHALF, kFloat = DataType::kFLOAT, kInt32 = DataType::kINT32;
  constexpr auto kLinear = TensorFormat::kLINEAR, kHwc8 = TensorFormat::kHWC8;
  static const std::vector<Case> cases = {
      {"PssDetDeformConv2d",
          {{"pads", pads, Type::kINT32, 4}, {"strides", strides, Type::kINT32, 2},
              {"dilations", dilations, Type::kINT32, 2}, {"has_bias", &one, Type::kINT32, 1},
              {"raw_mask", &one, Type::kINT32, 1}, {"relu", &one, Type::kINT32, 1}},
          {{kHalf, kHwc8, {2, 64, 25, 33}}, {kHalf, kLinear, {128, 1, 3, 64}},
              {kFloat, kLinear, {2, 9, 15, 35}}, {kFloat, kLinear, {128}}, {kHalf, kHwc8, {2, 128, 15, 35}}},
          11, false},
      {"PssDetGenerateProposals",
          {{"anchors", anchors, Type::kFLOAT32, 32}, {"strides", levels, Type::kINT32, 4},
              {"pre_nms_top_n", top, Type::kINT32, 1}, {"post_nms_top_n", top + 1, Type::kINT32, 1},
              {"nms_threshold", &point_seven, Type::kFLOAT32, 1}, {"min_size", &zero, Type::kFLOAT32, 1},
              {"pixel_offset", &unit, Type::kFLOAT32, 1}, {"clip_multiple", &multiple, Type::kFLOAT32, 1}},
          {{kHalf, kHwc8, {2, 2, 40, 48}}, {kHalf, kHwc8, {2, 2, 20, 24}}, {kHalf, kHwc8, {2, 2, 10, 12}},
              {kHalf, kHwc8, {2, 2, 5, 6}}, {kHalf, kLinear, {2, 8, 40, 48}}, {kHalf, kLinear, {2, 8, 20, 24}},
              {kHalf, kLinear, {2, 8, 10, 12}}, {kHalf, kLinear, {2, 8, 5, 6}}, {kFloat, kLinear, {2, 2}},
              {kFloat, kLinear, {2, 300, 4}}, {kFloat, kLinear, {2, 300}}, {kInt32, kLinear, {2}}},
          8, true},
      {"PssDetMultilevelRoiAlign",
          {{"strides", levels, Type::kINT32, 4}, {"min_level", &two, Type::kINT32, 1},
              {"canonical_level", &four, Type::kINT32, 1}, {"canonical_size", &canonical, Type::kFLOAT32, 1},
              {"pixel_offset", &unit, Type::kFLOAT32, 1}, {"output_size", &seven, Type::kINT32, 1},
              {"sampling_ratio", &two, Type::kINT32, 1}, {"aligned", &one, Type::kINT32, 1}},
          {{kHalf, kHwc8, {2, 64, 40, 48}}, {kHalf, kHwc8, {2, 64, 20, 24}}, {kHalf, kHwc8, {2, 64, 10, 12}},
              {kHalf, kHwc8, {2, 64, 5, 6}}, {kFloat, kLinear, {2, 30, 4}}, {kHalf, kLinear, {60, 64, 7, 7}}},
          8, false},
      {"PssDetMulticlassNms",
          {{"score_threshold", &half, Type::kFLOAT32, 1}, {"nms_threshold", &half, Type::kFLOAT32, 1},
              {"max_detections", &detections, Type::kINT32, 1}, {"pixel_offset", &unit, Type::kFLOAT32, 1}},
          {{kFloat, kLinear, {2, 30, 9, 4}}, {kFloat, kLinear, {2, 30, 9}}, {kInt32, kLinear, {2}},
              {kFloat, kLinear, {2, 100, 4}}, {kFloat, kLinear, {2, 100}}, {kInt32, kLinear, {2, 100}},
              {kInt32, kLinear, {2}}},
          4, true},
  };
  return cases;
}

template <typename Member>
auto each(const std::vector<Tensor>& tensors, size_t begin, size_t end, Member member) {
  std::vector<typename std::decay<decltype(tensors[0].*member)>::type> all;
  for (size_t i = begin; i < end; ++i) all.push_back(tensors[i].*member);
  return all;
}

// The same with an empty batch.
inline std::vector<Tensor> emptied(std::vector<Tensor> tensors, const std::string& plugin) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    const bool constant = plugin == "PssDetDeformConv2d" && (i == 1 || i == 3);
    if (!constant) tensors[i].sizes[0] = 0;
  }
  return tensors;
}

// The same with one tensor smaller on its second side (height and width of maps are free).
inline std::vector<Tensor> smaller(std::vector<Tensor> tensors, size_t which) {
  std::vector<Number>& sizes = tensors[which].sizes;
  --sizes[sizes.size() > 1 ? 1 : 0];
  return tensors;
}

}  // namespace plugin_host
