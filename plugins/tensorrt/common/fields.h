// Attributes from and to TensorRT's plugin fields, and the creators that announce them.
#pragma once

#include <NvInferRuntime.h>

#include <string>
#include <vector>

#include "creator.h"
#include "operator.h"

namespace pssdet::tensorrt {

// Sets the attributes that the fields give, whatever number types they have; returns what is wrong, in words, or nothing.
std::string assign_fields(const nvinfer1::PluginFieldCollection* fields, Attributes* attributes);

// The attributes as TensorRT asks a creator for them: names and types without values. The names are the table's own.
std::vector<nvinfer1::PluginField> empty_fields(const AttributeTable& table);

// The attributes as fields that point into them.
std::vector<nvinfer1::PluginField> fields_of(const Attributes& attributes);

// What creators of both generations answer.
template <typename Interface>
class NamedCreator : public Interface {
 public:
  explicit NamedCreator(const Description& description)
      : description_(description), fields_(empty_fields(description.attributes)),
        collection_{int32_t(fields_.size()), fields_.data()} {}

  const char* getPluginName() const noexcept override { return description_.name; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }
  const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }

 protected:
  const Description& description_;

 private:
  const std::vector<nvinfer1::PluginField> fields_;
  const nvinfer1::PluginFieldCollection collection_;
};

}  // namespace pssdet::tensorrt
