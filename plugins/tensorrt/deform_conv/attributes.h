// The attributes of PssDetDeformConv2d, and their way through fields and bytes. Nothing here needs TensorRT.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace pssdet::tensorrt::deform_conv {

// By ONNX DeformConv's names, orders and defaults; below the line what is ours, 0 or 1.
struct Attributes {
  int32_t dilations[2] = {1, 1};
  int32_t group[1] = {1};
  int32_t kernel_shape[2] = {0, 0};  // zeros: as the weight has it
  int32_t offset_group[1] = {1};
  int32_t pads[4] = {0, 0, 0, 0};  // top, left, bottom, right
  int32_t strides[2] = {1, 1};
  // --
  int32_t has_bias[1] = {0};  // there is an input B
  int32_t has_mask[1] = {0};  // there is an input mask
  int32_t raw_mask[1] = {0};  // the masks before their sigmoid are the last channels of the offset input
  int32_t relu[1] = {0};
  int32_t half_offsets[1] = {0};  // offset and mask may be half; a weakly typed builder then uses it
};

// A row for each attribute: everything below, and the wrappers' lists of fields, goes through this table.
struct AttributeInfo {
  const char* name;
  int32_t count;  // of values
  size_t offset;  // in Attributes
  int32_t least, most;
};

constexpr int32_t kAttributes = 11;
extern const AttributeInfo kAttributeInfo[kAttributes];

const int32_t* values_of(const Attributes& attributes, const AttributeInfo& info);

// These functions return what is wrong, in words, or nothing.

// Sets one attribute.
std::string assign(Attributes* attributes, const char* name, const int64_t* values, int32_t count);

// Whether the attributes, each valid for itself, go together.
std::string contradiction(const Attributes& attributes);

// A record of constant size: magic number, version, size of the rest, the values in the table's order.
size_t record_size();
void write_record(const Attributes& attributes, void* to);
std::string read_record(const void* from, size_t size, Attributes* attributes);

// "dilations=1,1 group=1 ...": the same text for the same attributes, and only for them.
std::string text_of(const Attributes& attributes);

}  // namespace pssdet::tensorrt::deform_conv
