#include "translation.h"

#include "fields.h"
#include "host.h"

namespace pssdet::tensorrt {

namespace {

using nvinfer1::DimensionOperation;
using nvinfer1::IDimensionExpr;

class Expressions final : public Arithmetic {
 public:
  explicit Expressions(nvinfer1::IExprBuilder& builder) : builder_(builder) {}

  Dim constant(int32_t value) override { return {0, builder_.constant(value)}; }
  Dim sum(Dim a, Dim b) override { return apply(DimensionOperation::kSUM, a, b); }
  Dim difference(Dim a, Dim b) override { return apply(DimensionOperation::kSUB, a, b); }
  Dim product(Dim a, Dim b) override { return apply(DimensionOperation::kPROD, a, b); }
  Dim quotient(Dim a, Dim b) override { return apply(DimensionOperation::kFLOOR_DIV, a, b); }

 private:
  Dim apply(DimensionOperation operation, Dim a, Dim b) {
    return {0,
        builder_.operation(
            operation, *static_cast<const IDimensionExpr*>(a.expression), *static_cast<const IDimensionExpr*>(b.expression))};
  }

  nvinfer1::IExprBuilder& builder_;
};

void describe(const Operator& op, const nvinfer1::PluginTensorDesc* inputs, const nvinfer1::PluginTensorDesc* outputs,
    Tensor tensors[kMostTensors]) {
  const size_t first_output = op.inputs().size();
  for (size_t i = 0; i < first_output + op.outputs().size(); ++i) {
    const nvinfer1::PluginTensorDesc& desc = i < first_output ? inputs[i] : outputs[i - first_output];
    tensors[i] = {storage_of(desc), shape_of(desc.dims)};
  }
}

}  // namespace

void log_error(const Description& description, const std::string& what) noexcept {
  log_error(std::string(description.name) + ": " + what);
}

std::shared_ptr<const Operator> operator_of_fields(
    const Description& description, const nvinfer1::PluginFieldCollection* fields) noexcept {
  std::shared_ptr<const Operator> op;
  status_of(description, [&] {
    Attributes attributes(description.attributes);
    std::string wrong = assign_fields(fields, &attributes);
    if (wrong.empty()) op = make_operator(description, attributes, &wrong);
    return wrong;
  });
  return op;
}

Storage storage_of(const nvinfer1::PluginTensorDesc& tensor) noexcept {
  Storage storage;
  if (tensor.type == nvinfer1::DataType::kFLOAT) storage.type = Type::kFloat;
  if (tensor.type == nvinfer1::DataType::kHALF) storage.type = Type::kHalf;
  if (tensor.type == nvinfer1::DataType::kINT32) storage.type = Type::kInt32;
  if (tensor.format == nvinfer1::TensorFormat::kLINEAR) storage.layout = Layout::kLinear;
  if (tensor.format == nvinfer1::TensorFormat::kHWC8) storage.layout = Layout::kHwc8;
  return storage;
}

Shape shape_of(const nvinfer1::Dims& dims) noexcept {
  Shape shape{dims.nbDims < 0 || dims.nbDims > 8 ? 0 : dims.nbDims, {}};
  for (int32_t i = 0; i < shape.rank; ++i) shape.size[i] = dims.d[i];
  return shape;
}

nvinfer1::DataType output_type(const Operator& op, int32_t output, const nvinfer1::DataType* inputs, int32_t count) noexcept {
  const bool known = output >= 0 && size_t(output) < op.outputs().size();
  switch (known ? op.outputs()[size_t(output)].type : Type::kForeign) {
    case Type::kFloat: return nvinfer1::DataType::kFLOAT;
    case Type::kHalf: return nvinfer1::DataType::kHALF;
    case Type::kInt32: return nvinfer1::DataType::kINT32;
    case Type::kForeign: break;
  }
  return count > 0 ? inputs[0] : nvinfer1::DataType::kFLOAT;
}

std::string output_shapes(const Operator& op, const nvinfer1::DimsExprs* inputs, int32_t count, nvinfer1::IExprBuilder& builder,
    nvinfer1::DimsExprs* outputs) {
  if (count != int32_t(op.inputs().size())) {
    return "it has " + std::to_string(count) + " inputs, and its attributes announce " + std::to_string(op.inputs().size());
  }
  Dims known[kMostTensors]{}, inferred[kMostTensors]{};
  for (int32_t i = 0; i < count; ++i) {
    const TensorSpec& spec = op.inputs()[size_t(i)];
    if (inputs[i].nbDims != spec.rank) return spec.name + " must be of rank " + std::to_string(spec.rank);
    known[i].rank = spec.rank;
    for (int32_t d = 0; d < spec.rank; ++d) known[i].dim[d].expression = inputs[i].d[d];
  }
  Expressions expressions(builder);
  op.infer(expressions, known, inferred);
  for (size_t i = 0; i < op.outputs().size(); ++i) {
    outputs[i].nbDims = inferred[i].rank;
    for (int32_t d = 0; d < inferred[i].rank; ++d) {
      outputs[i].d[d] = static_cast<const IDimensionExpr*>(inferred[i].dim[d].expression);
    }
  }
  return {};
}

size_t workspace_of(const Description& description, const Operator& op, const Shape* inputs, int32_t count) noexcept {
  size_t bytes = 0;
  const int32_t status = status_of(description, [&] {
    return count == int32_t(op.inputs().size()) ? op.workspace(inputs, &bytes) : std::string("it has another number of inputs");
  });
  return status ? kImpossible : bytes;
}

int32_t check(const Description& description, const Operator& op, const nvinfer1::PluginTensorDesc* inputs,
    const nvinfer1::PluginTensorDesc* outputs) noexcept {
  return status_of(description, [&] {
    Tensor tensors[kMostTensors];
    describe(op, inputs, outputs, tensors);
    return op.check(tensors);
  });
}

int32_t launch(const Description& description, const Operator& op, const nvinfer1::PluginTensorDesc* inputs,
    const nvinfer1::PluginTensorDesc* outputs, const Call& call) noexcept {
  return status_of(description, [&] {
    Tensor tensors[kMostTensors];
    describe(op, inputs, outputs, tensors);
    return op.launch(tensors, call);
  });
}

}  // namespace pssdet::tensorrt
