// What plugin_v2.cpp (IPluginV2DynamicExt, TensorRT 8.5 to 9) and plugin_v3.cpp (IPluginV3, from 10 on) share:
// creators, and TensorRT's fields, descriptors and expressions as the operators know them.
// PSSDET_PLUGIN_GENERATION may be set from outside.
#pragma once

#include <NvInferRuntime.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "operator.h"

#if !defined(PSSDET_PLUGIN_GENERATION)
#if NV_TENSORRT_MAJOR >= 10
#define PSSDET_PLUGIN_GENERATION 3
#else
#define PSSDET_PLUGIN_GENERATION 2
#endif
#endif

namespace pssdet::tensorrt {

#if PSSDET_PLUGIN_GENERATION == 3
using Creator = nvinfer1::IPluginCreatorInterface;
#else
using Creator = nvinfer1::IPluginCreator;
#endif

constexpr const char *kNamespace = "pssdet", *kVersion = "1";

// It and its plugins refer to the description.
std::unique_ptr<Creator> make_creator(const Description& description);

// Names, which are the table's own, and types without values.
std::vector<nvinfer1::PluginField> empty_fields(const AttributeTable& table);

// The attributes as fields that point into them.
std::vector<nvinfer1::PluginField> fields_of(const Attributes& attributes);

// Sets the attributes that the fields give, whatever number types they have; returns what is wrong.
std::string assign_fields(const nvinfer1::PluginFieldCollection* fields, Attributes* attributes);

// One line to TensorRT's log, or to stderr if there is none.
void log_error(const std::string& line) noexcept;

// 0, or 1 and a line in the log: what `work` says is wrong, or its exception, which may not pass TensorRT.
template <typename Work>
int32_t status_of(const Description& description, Work work) noexcept {
  std::string wrong;
  try {
    wrong = work();
  } catch (const std::exception& error) {
    wrong = error.what();
  }
  if (wrong.empty()) return 0;
  log_error(std::string(description.name) + ": " + wrong);
  return 1;
}

// The operator of the attributes that `read` sets, which returns what is wrong; null, and a line in the log,
// if they make none.
template <typename Read>
std::shared_ptr<const Operator> operator_of(const Description& description, Read read) noexcept {
  std::shared_ptr<const Operator> op;
  status_of(description, [&] {
    Attributes attributes(description.attributes);
    std::string wrong = read(&attributes);
    if (wrong.empty()) op = make_operator(description, attributes, &wrong);
    return wrong;
  });
  return op;
}

Storage storage_of(const nvinfer1::PluginTensorDesc& tensor) noexcept;
Shape shape_of(const nvinfer1::Dims& dims) noexcept;  // rank 0 for impossible ranks

// A launch's inputs, then its outputs.
std::array<Tensor, kMostTensors> tensors_of(const Operator& op, const nvinfer1::PluginTensorDesc* inputs,
    const nvinfer1::PluginTensorDesc* outputs) noexcept;

// The data type of an output, given the inputs'; they are `count`.
nvinfer1::DataType output_type(
    const Operator& op, int32_t output, const nvinfer1::DataType* inputs, int32_t count) noexcept;

// All outputs' shapes. What is wrong, in words, if the number of inputs or a rank is.
std::string output_shapes(const Operator& op, const nvinfer1::DimsExprs* inputs, int32_t count,
    nvinfer1::IExprBuilder& builder, nvinfer1::DimsExprs* outputs);

constexpr size_t kImpossible = size_t(1) << 50;

// Bytes of workspace; kImpossible, which no builder grants, if the kernel cannot do these inputs:
// the only way to say no.
size_t workspace_of(
    const Description& description, const Operator& op, const Tensor* inputs, int32_t count) noexcept;

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
