// TensorRT's descriptors and expressions as the operators know them, for the wrappers of both generations.
#pragma once

#include <NvInferRuntime.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>

#include "operator.h"

namespace pssdet::tensorrt {

// Logs a line that begins with the plugin's name.
void log_error(const Description& description, const std::string& what) noexcept;

// TensorRT's convention: 0, or 1 and a line in the log. That is what `work` says is wrong; an exception, which may not pass TensorRT,
// is one too.
template <typename Work>
int32_t status_of(const Description& description, Work work) noexcept {
  try {
    const std::string wrong = work();
    if (wrong.empty()) return 0;
    log_error(description, wrong);
  } catch (const std::exception& error) {
    log_error(description, error.what());
  }
  return 1;
}

// The operator that a creator's fields make; null, and a line in the log, if they make none.
std::shared_ptr<const Operator> operator_of_fields(
    const Description& description, const nvinfer1::PluginFieldCollection* fields) noexcept;

Storage storage_of(const nvinfer1::PluginTensorDesc& tensor) noexcept;
Shape shape_of(const nvinfer1::Dims& dims) noexcept;  // rank 0 for impossible ranks

// The data type of an output, given the inputs'; they are `count`.
nvinfer1::DataType output_type(const Operator& op, int32_t output, const nvinfer1::DataType* inputs, int32_t count) noexcept;

// All outputs' shapes. What is wrong, in words, if the number of inputs or a rank is.
std::string output_shapes(const Operator& op, const nvinfer1::DimsExprs* inputs, int32_t count, nvinfer1::IExprBuilder& builder,
    nvinfer1::DimsExprs* outputs);

constexpr size_t kImpossible = size_t(1) << 50;

// Bytes of workspace for inputs of these shapes; kImpossible, which no builder grants, and a line in the log, if the kernel cannot do
// them: there is no other way to say so here, and with less an engine would be built that overruns its workspace.
size_t workspace_of(const Description& description, const Operator& op, const Shape* inputs, int32_t count) noexcept;

// As status_of.
int32_t check(const Description& description, const Operator& op, const nvinfer1::PluginTensorDesc* inputs,
    const nvinfer1::PluginTensorDesc* outputs) noexcept;
int32_t launch(const Description& description, const Operator& op, const nvinfer1::PluginTensorDesc* inputs,
    const nvinfer1::PluginTensorDesc* outputs, const Call& call) noexcept;

}  // namespace pssdet::tensorrt
