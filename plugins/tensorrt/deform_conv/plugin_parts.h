// What both generations of the plugin are made of: TensorRT's fields, expressions and descriptors, translated once.
#pragma once

#include <NvInferRuntime.h>

#include <string>

#include "attributes.h"
#include "tensors.h"

namespace pssdet::tensorrt::deform_conv {

constexpr const char* kName = "PssDetDeformConv2d";
constexpr const char* kVersion = "1";

// Logs a line that begins with the plugin's name.
void complain(const std::string& what) noexcept;

// The attributes as TensorRT asks for them: names and types, without values.
const nvinfer1::PluginFieldCollection* field_names();

// The attributes that the fields give; false, and a line in the log, if they give none.
bool attributes_of(const nvinfer1::PluginFieldCollection* fields, Attributes* attributes) noexcept;

// [batch, output channels, height, width] of y. False, and a line in the log, if the inputs are not those announced.
bool output_shape(const Attributes& attributes, const nvinfer1::DimsExprs* inputs, int32_t count, nvinfer1::IExprBuilder& builder,
    nvinfer1::DimsExprs* output) noexcept;

Storage storage_of(const nvinfer1::PluginTensorDesc& tensor) noexcept;
Shape shape_of(const nvinfer1::Dims& dims) noexcept;

// The kernel's problem and format. False, and a line in the log, if the tensors contradict each other or the attributes.
bool problem_and_format(const Attributes& attributes, const nvinfer1::PluginTensorDesc* inputs,
    const nvinfer1::PluginTensorDesc& output, pssdet_dcnv2_problem* problem, pssdet_dcnv2_format* format) noexcept;

// Runs the kernel; TensorRT's convention: 0 if it was launched. `tile` is a wish, and passed over where the kernel has no such tile.
int32_t run(const Attributes& attributes, const nvinfer1::PluginTensorDesc* input_descs,
    const nvinfer1::PluginTensorDesc* output_descs, const void* const* inputs, void* const* outputs, int32_t tile,
    cudaStream_t stream) noexcept;

}  // namespace pssdet::tensorrt::deform_conv
