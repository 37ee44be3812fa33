// Attributes from and to TensorRT's plugin fields.
#pragma once

#include <NvInferRuntime.h>

#include <string>
#include <vector>

#include "attributes.h"

namespace pssdet::tensorrt {

// Sets the attributes that the fields give, whatever number types they have; returns what is wrong, in words, or nothing.
std::string assign_fields(const nvinfer1::PluginFieldCollection* fields, Attributes* attributes);

// The attributes as TensorRT asks a creator for them: names and types without values. The names are the table's own.
std::vector<nvinfer1::PluginField> empty_fields(const AttributeTable& table);

// The attributes as fields that point into them.
std::vector<nvinfer1::PluginField> fields_of(const Attributes& attributes);

}  // namespace pssdet::tensorrt
