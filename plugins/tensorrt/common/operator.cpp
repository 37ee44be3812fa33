#include "operator.h"

#include <algorithm>
#include <utility>

namespace pssdet::tensorrt {

bool operator==(const Shape& a, const Shape& b) {
  return a.rank == b.rank && std::equal(a.size, a.size + a.rank, b.size);
}

std::string text_of(const Shape& shape) {
  std::string text = "[";
  for (int32_t i = 0; i < shape.rank; ++i) text += (i ? ", " : "") + std::to_string(shape.size[i]);
  return text + "]";
}

std::string difference(const std::string& name, const Shape& shape, const Shape& expected) {
  if (shape == expected) return {};
  return name + " is " + text_of(shape) + ", not " + text_of(expected);
}

namespace {

// Nothing for a shape of the signature's rank with sides of 0 to INT32_MAX.
std::string malformed(const TensorSpec& spec, const Shape& shape) {
  const auto impossible = [](int64_t side) { return side < 0 || side > INT32_MAX; };
  if (shape.rank == spec.rank && std::none_of(shape.size, shape.size + shape.rank, impossible)) return {};
  return spec.name + " is " + text_of(shape) + ", which has not " + std::to_string(spec.rank) +
      " possible sides";
}

Dims dims_of(const Shape& shape) {
  Dims dims{shape.rank, {}};
  for (int32_t i = 0; i < shape.rank; ++i) dims.dim[i].number = shape.size[i];
  return dims;
}

Shape shape_of(const Dims& dims) {
  Shape shape{dims.rank, {}};
  for (int32_t i = 0; i < dims.rank; ++i) shape.size[i] = dims.dim[i].number;
  return shape;
}

}  // namespace

Operator::Operator(Attributes attributes, std::vector<TensorSpec> inputs, std::vector<TensorSpec> outputs)
    : attributes_(std::move(attributes)), inputs_(std::move(inputs)), outputs_(std::move(outputs)) {}

bool Operator::supports(const Storage* storages, int32_t position, int32_t inputs, int32_t outputs) const {
  if (inputs != int32_t(inputs_.size()) || outputs != int32_t(outputs_.size())) return false;
  if (position < 0 || position >= inputs + outputs) return false;
  for (int32_t i = 0; i <= position; ++i) {
    if (!accepts(storages, i)) return false;
  }
  return true;
}

std::string Operator::workspace(const Tensor* inputs, size_t* bytes) const {
  *bytes = 0;
  Tensor tensors[kMostTensors];
  const bool empty = inputs[0].shape.rank > 0 && inputs[0].shape.size[0] == 0;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    std::string wrong = malformed(inputs_[i], inputs[i].shape);
    if (!wrong.empty()) return wrong;
    tensors[i].shape = inputs[i].shape;
    if (empty && tensors[i].shape.size[0] == 0) tensors[i].shape.size[0] = 1;
  }
  return validate(tensors, bytes);
}

std::string Operator::check(const Tensor* tensors) const {
  const int32_t inputs = int32_t(inputs_.size()), outputs = int32_t(outputs_.size());
  Storage storages[kMostTensors];
  Dims known[kMostTensors], inferred[kMostTensors];
  for (int32_t i = 0; i < inputs + outputs; ++i) {
    storages[i] = tensors[i].storage;
    known[i] = dims_of(tensors[i].shape);
  }
  size_t bytes = 0;
  std::string wrong = workspace(tensors, &bytes);
  if (!wrong.empty()) return wrong;
  Numbers numbers;
  infer(numbers, known, inferred);
  for (int32_t i = 0; i < outputs; ++i) {
    wrong = difference(outputs_[size_t(i)].name, tensors[inputs + i].shape, shape_of(inferred[i]));
    if (!wrong.empty()) return wrong;
  }
  if (!supports(storages, inputs + outputs - 1, inputs, outputs))
    return "its tensors' formats do not go together";
  return {};
}

std::string Operator::launch(const Tensor* tensors, const Call& call) const {
  std::string wrong = check(tensors);
  if (!wrong.empty() || tensors[0].shape.size[0] == 0) return wrong;
  switch (run(tensors, call)) {
    case PSSDET_OK: return {};
    case PSSDET_CUDA_ERROR: return "CUDA refused the launch";
    default: return "the kernel refused the problem, or an unaligned address";
  }
}

std::shared_ptr<const Operator> make_operator(
    const Description& description, const Attributes& attributes, std::string* wrong) {
  *wrong = attributes.missing();
  if (wrong->empty() && description.contradiction) *wrong = description.contradiction(attributes);
  if (!wrong->empty()) return nullptr;
  return description.make(attributes);
}

}  // namespace pssdet::tensorrt
