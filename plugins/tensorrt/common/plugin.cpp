#include "plugin.h"

#include <cstring>

namespace pssdet::tensorrt {

namespace {

using nvinfer1::DimensionOperation;
using nvinfer1::IDimensionExpr;
using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;

constexpr int32_t kMostValues = 1 << 12;

template <typename T>
void widen(const PluginField& field, std::vector<double>* to) {
  for (int32_t i = 0; i < field.length; ++i) {
    T value;  // fields need not be aligned
    std::memcpy(&value, static_cast<const char*>(field.data) + size_t(i) * sizeof(T), sizeof(T));
    to->push_back(double(value));
  }
}

// False if the field holds no numbers, or too many. 64-bit integers that a double rounds are beyond all bounds.
bool numbers_of(const PluginField& field, Kind* kind, std::vector<double>* values) {
  if (!field.data || field.length < 1 || field.length > kMostValues) return false;
  *kind = Kind::kInteger;
  switch (field.type) {
    case PluginFieldType::kINT8: widen<int8_t>(field, values); break;
    case PluginFieldType::kINT16: widen<int16_t>(field, values); break;
    case PluginFieldType::kINT32: widen<int32_t>(field, values); break;
#if NV_TENSORRT_MAJOR >= 10
    case PluginFieldType::kINT64: widen<int64_t>(field, values); break;
#endif
    case PluginFieldType::kFLOAT32: *kind = Kind::kReal, widen<float>(field, values); break;
    case PluginFieldType::kFLOAT64: *kind = Kind::kReal, widen<double>(field, values); break;
    default: return false;
  }
  return true;
}

PluginFieldType type_of(Kind kind) {
  return kind == Kind::kInteger ? PluginFieldType::kINT32 : PluginFieldType::kFLOAT32;
}

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
        builder_.operation(operation, *static_cast<const IDimensionExpr*>(a.expression),
            *static_cast<const IDimensionExpr*>(b.expression))};
  }

  nvinfer1::IExprBuilder& builder_;
};

}  // namespace

std::string assign_fields(const nvinfer1::PluginFieldCollection* fields, Attributes* attributes) {
  const int32_t count = fields && fields->fields ? fields->nbFields : 0;
  for (int32_t i = 0; i < count; ++i) {
    const PluginField& field = fields->fields[i];
    const char* name = field.name ? field.name : "";
    Kind kind;
    std::vector<double> values;
    if (!numbers_of(field, &kind, &values)) return std::string(name) + " is not a list of numbers";
    std::string wrong = attributes->assign(name, kind, values);
    if (!wrong.empty()) return wrong;
  }
  return {};
}

std::vector<PluginField> empty_fields(const AttributeTable& table) {
  std::vector<PluginField> fields;
  for (const AttributeInfo& info : table)
    fields.emplace_back(info.name, nullptr, type_of(info.kind), info.fewest);
  return fields;
}

std::vector<PluginField> fields_of(const Attributes& attributes) {
  std::vector<PluginField> fields;
  for (size_t row = 0; row < attributes.table().size(); ++row) {
    const AttributeInfo& info = attributes.table()[row];
    const std::vector<uint32_t>& words = attributes.words(row);
    fields.emplace_back(info.name, words.data(), type_of(info.kind), int32_t(words.size()));
  }
  return fields;
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

std::array<Tensor, kMostTensors> tensors_of(const Operator& op, const nvinfer1::PluginTensorDesc* inputs,
    const nvinfer1::PluginTensorDesc* outputs) noexcept {
  std::array<Tensor, kMostTensors> tensors;
  const size_t first_output = op.inputs().size();
  for (size_t i = 0; i < first_output + op.outputs().size(); ++i) {
    const nvinfer1::PluginTensorDesc& desc = i < first_output ? inputs[i] : outputs[i - first_output];
    tensors[i] = {storage_of(desc), shape_of(desc.dims)};
  }
  return tensors;
}

nvinfer1::DataType output_type(
    const Operator& op, int32_t output, const nvinfer1::DataType* inputs, int32_t count) noexcept {
  const bool known = output >= 0 && size_t(output) < op.outputs().size();
  switch (known ? op.outputs()[size_t(output)].type : Type::kForeign) {
    case Type::kFloat: return nvinfer1::DataType::kFLOAT;
    case Type::kHalf: return nvinfer1::DataType::kHALF;
    case Type::kInt32: return nvinfer1::DataType::kINT32;
    case Type::kForeign: break;
  }
  return count > 0 ? inputs[0] : nvinfer1::DataType::kFLOAT;
}

std::string output_shapes(const Operator& op, const nvinfer1::DimsExprs* inputs, int32_t count,
    nvinfer1::IExprBuilder& builder, nvinfer1::DimsExprs* outputs) {
  if (count != int32_t(op.inputs().size())) {
    return "it has " + std::to_string(count) + " inputs, and its attributes announce " +
        std::to_string(op.inputs().size());
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

size_t workspace_of(
    const Description& description, const Operator& op, const Tensor* inputs, int32_t count) noexcept {
  size_t bytes = 0;
  const int32_t status = status_of(description, [&] {
    return count == int32_t(op.inputs().size()) ? op.workspace(inputs, &bytes)
                                                : std::string("it has another number of inputs");
  });
  return status ? kImpossible : bytes;
}

}  // namespace pssdet::tensorrt
