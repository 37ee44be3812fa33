// What PssDetDeformConv2d's tensors are: their order, the formats that go together, and the kernel's problem that they make.
// Nothing here needs TensorRT, whose descriptors plugin_parts.h translates.
#pragma once

#include <cstdint>
#include <string>

#include "../../dcnv2/dcnv2.h"
#include "attributes.h"

namespace pssdet::tensorrt::deform_conv {

enum class Role { kX, kWeight, kOffset, kBias, kMask, kY };

constexpr int32_t kMostTensors = 6;

// Inputs in ONNX's order (X, W, offset, B, mask) without those that the attributes do not announce, then the output. Optional
// inputs are announced, not left empty: TensorRT's parser makes a tensor of every input.
class Signature {
 public:
  explicit Signature(const Attributes& attributes);

  int32_t inputs() const { return tensors_ - 1; }
  int32_t tensors() const { return tensors_; }
  Role role(int32_t position) const { return roles_[position]; }
  int32_t position(Role role) const;  // -1: absent

 private:
  Role roles_[kMostTensors];
  int32_t tensors_ = 0;
};

// A tensor's type and order in memory: pssdet_dtype and pssdet_layout, or kForeign.
constexpr int32_t kForeign = -1;

struct Storage {
  int32_t type, layout;
};

// Whether some row of the format table has tensors[0 .. position] and the attributes allow it. Total: false for any position,
// any foreign format and any wrong number of inputs and outputs.
bool supports(const Attributes& attributes, const Storage* tensors, int32_t position, int32_t inputs, int32_t outputs);

pssdet_dcnv2_format format_of(const Attributes& attributes, const Storage* tensors);

struct Shape {
  int32_t rank;
  int64_t size[8];
};

// The problem that input shapes make, with the output's shape; returns what is wrong, or nothing. A batch of 0 images, which
// has no problem, gives problem->batch = 0.
std::string problem_of(const Attributes& attributes, const Shape* inputs, pssdet_dcnv2_problem* problem, Shape* output);

// "y is [1, 8, 5, 5], not [1, 8, 4, 4]", or nothing.
std::string difference(const char* name, const Shape& shape, const Shape& expected);

}  // namespace pssdet::tensorrt::deform_conv
