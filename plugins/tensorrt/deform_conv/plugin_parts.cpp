#include "plugin_parts.h"

#include <vector>

#include "../common/fields.h"
#include "../common/host.h"

namespace pssdet::tensorrt::deform_conv {

using nvinfer1::DimensionOperation;
using nvinfer1::IDimensionExpr;

void complain(const std::string& what) noexcept { log_error(std::string(kName) + ": " + what); }

const nvinfer1::PluginFieldCollection* field_names() {
  static const std::vector<nvinfer1::PluginField> fields = [] {
    std::vector<nvinfer1::PluginField> list;
    for (const AttributeInfo& info : kAttributeInfo) {
      list.emplace_back(info.name, nullptr, nvinfer1::PluginFieldType::kINT32, info.count);
    }
    return list;
  }();
  static const nvinfer1::PluginFieldCollection collection{int32_t(fields.size()), fields.data()};
  return &collection;
}

bool attributes_of(const nvinfer1::PluginFieldCollection* fields, Attributes* attributes) noexcept {
  std::string wrong;
  Attributes result;
  const int32_t count = fields && fields->fields ? fields->nbFields : 0;
  for (int32_t i = 0; i < count && wrong.empty(); ++i) {
    const nvinfer1::PluginField& field = fields->fields[i];
    int64_t values[kMostFieldValues];
    const int32_t length = integers_of(field, values);
    const char* name = field.name ? field.name : "";
    wrong = length < 0 ? std::string(name) + " is not a list of integers" : assign(&result, name, values, length);
  }
  if (wrong.empty()) wrong = contradiction(result);
  if (wrong.empty()) {
    *attributes = result;
  } else {
    complain(wrong);
  }
  return wrong.empty();
}

bool output_shape(const Attributes& attributes, const nvinfer1::DimsExprs* inputs, int32_t count, nvinfer1::IExprBuilder& builder,
    nvinfer1::DimsExprs* output) noexcept {
  const Signature signature(attributes);
  if (count != signature.inputs()) {
    complain("it has " + std::to_string(count) + " inputs, and its attributes announce " + std::to_string(signature.inputs()));
    return false;
  }
  if (inputs[0].nbDims != 4 || inputs[1].nbDims != 4) {
    complain("x and the weight must be of rank 4");
    return false;
  }
  const nvinfer1::DimsExprs &x = inputs[0], &weight = inputs[1];
  const auto constant = [&](int32_t value) { return builder.constant(value); };
  const auto apply = [&](DimensionOperation operation, const IDimensionExpr* a, const IDimensionExpr* b) {
    return builder.operation(operation, *a, *b);
  };
  // (side + both pads - dilation * (kernel - 1) - 1) / stride + 1, rounded down
  const auto side = [&](int32_t axis) {
    const int32_t pads = attributes.pads[axis] + attributes.pads[axis + 2], dilation = attributes.dilations[axis];
    const IDimensionExpr* spread = apply(DimensionOperation::kPROD, weight.d[1 + axis], constant(dilation));
    const IDimensionExpr* room = apply(DimensionOperation::kSUM, x.d[2 + axis], constant(pads + dilation - 1));
    room = apply(DimensionOperation::kSUB, room, spread);
    return apply(
        DimensionOperation::kSUM, apply(DimensionOperation::kFLOOR_DIV, room, constant(attributes.strides[axis])), constant(1));
  };
  output->nbDims = 4;
  output->d[0] = x.d[0];
  output->d[1] = weight.d[0];
  output->d[2] = side(0);
  output->d[3] = side(1);
  return true;
}

Storage storage_of(const nvinfer1::PluginTensorDesc& tensor) noexcept {
  Storage storage{kForeign, kForeign};
  if (tensor.type == nvinfer1::DataType::kFLOAT) storage.type = PSSDET_F32;
  if (tensor.type == nvinfer1::DataType::kHALF) storage.type = PSSDET_F16;
  if (tensor.format == nvinfer1::TensorFormat::kLINEAR) storage.layout = PSSDET_NCHW;
  if (tensor.format == nvinfer1::TensorFormat::kHWC8) storage.layout = PSSDET_NHWC;
  return storage;
}

Shape shape_of(const nvinfer1::Dims& dims) noexcept {
  Shape shape{dims.nbDims < 0 || dims.nbDims > 8 ? 0 : dims.nbDims, {}};
  for (int32_t i = 0; i < shape.rank; ++i) shape.size[i] = dims.d[i];
  return shape;
}

bool problem_and_format(const Attributes& attributes, const nvinfer1::PluginTensorDesc* inputs,
    const nvinfer1::PluginTensorDesc& output, pssdet_dcnv2_problem* problem, pssdet_dcnv2_format* format) noexcept {
  const Signature signature(attributes);
  Shape shapes[kMostTensors], expected;
  Storage storages[kMostTensors];
  for (int32_t i = 0; i < signature.tensors(); ++i) {
    const nvinfer1::PluginTensorDesc& tensor = i < signature.inputs() ? inputs[i] : output;
    shapes[i] = shape_of(tensor.dims);
    storages[i] = storage_of(tensor);
  }
  std::string wrong = problem_of(attributes, shapes, problem, &expected);
  if (wrong.empty()) wrong = difference("y", shapes[signature.inputs()], expected);
  if (wrong.empty() && !supports(attributes, storages, signature.inputs(), signature.inputs(), 1)) {
    wrong = "its tensors' formats do not go together";
  }
  if (!wrong.empty()) {
    complain(wrong);
    return false;
  }
  *format = format_of(attributes, storages);
  return true;
}

int32_t run(const Attributes& attributes, const nvinfer1::PluginTensorDesc* input_descs,
    const nvinfer1::PluginTensorDesc* output_descs, const void* const* inputs, void* const* outputs, int32_t tile,
    cudaStream_t stream) noexcept {
  pssdet_dcnv2_problem problem;
  pssdet_dcnv2_format format;
  if (!problem_and_format(attributes, input_descs, output_descs[0], &problem, &format)) return 1;
  if (problem.batch == 0) return 0;
  const Signature signature(attributes);
  const auto input = [&](Role role) {
    const int32_t position = signature.position(role);
    return position < 0 ? nullptr : inputs[position];
  };
  if (tile >= pssdet_dcnv2_tile_count(&problem, &format)) tile = PSSDET_AUTO_TILE;
  const pssdet_status status = pssdet_dcnv2_run(&problem, &format, input(Role::kX), input(Role::kOffset), input(Role::kMask),
      input(Role::kWeight), static_cast<const float*>(input(Role::kBias)), outputs[0], tile, stream);
  if (status == PSSDET_OK) return 0;
  complain(status == PSSDET_CUDA_ERROR ? "CUDA refused the launch" : "the kernel refused the problem, or an unaligned address");
  return 1;
}

}  // namespace pssdet::tensorrt::deform_conv
