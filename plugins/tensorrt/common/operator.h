// What a plugin is, without TensorRT: a description and, once its attributes are known, an operator, which
// plugin_v*.cpp wrap. Functions that return a string return what is wrong, in words, or nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../../detection/detection.h"
#include "attributes.h"

namespace pssdet::tensorrt {

constexpr int32_t kMostTensors = 2 * PSSDET_MAX_LEVELS + 4;  // of a plugin: its inputs, then its outputs

enum class Type : int32_t { kForeign = -1, kFloat = PSSDET_F32, kHalf = PSSDET_F16, kInt32 = 2 };
enum class Layout : int32_t { kForeign = -1, kLinear = PSSDET_NCHW, kHwc8 = PSSDET_NHWC };

struct Storage {
  Type type = Type::kForeign;
  Layout layout = Layout::kForeign;
};

inline bool operator==(const Storage& a, const Storage& b) { return a.type == b.type && a.layout == b.layout; }
inline bool operator!=(const Storage& a, const Storage& b) { return !(a == b); }

constexpr Storage kFloatLinear{Type::kFloat, Layout::kLinear}, kHalfLinear{Type::kHalf, Layout::kLinear},
    kHalfHwc8{Type::kHalf, Layout::kHwc8}, kInt32Linear{Type::kInt32, Layout::kLinear};

// Whether the kernels read and write feature maps so.
inline bool is_map(const Storage& storage) {
  return storage == kFloatLinear || storage == kHalfLinear || storage == kHalfHwc8;
}

// The kernels' names, of a storage that is_map.
inline pssdet_dtype dtype_of(const Storage& storage) { return static_cast<pssdet_dtype>(storage.type); }
inline pssdet_layout layout_of(const Storage& storage) { return static_cast<pssdet_layout>(storage.layout); }

struct Shape {
  int32_t rank;
  int64_t size[8];
};

bool operator==(const Shape& a, const Shape& b);
inline bool operator!=(const Shape& a, const Shape& b) { return !(a == b); }

struct Tensor {
  Storage storage;
  Shape shape;
};

std::string text_of(const Shape& shape);  // "[1, 8, 5, 5]"

// "y is [1, 8, 5, 5], not [1, 8, 4, 4]", or nothing.
std::string difference(const std::string& name, const Shape& shape, const Shape& expected);

// A number or TensorRT's expression; the arithmetic that made it knows which.
struct Dim {
  int64_t number;
  const void* expression;
};

struct Dims {
  int32_t rank;
  Dim dim[8];
};

class Arithmetic {
 public:
  virtual ~Arithmetic() = default;
  virtual Dim constant(int32_t value) = 0;
  virtual Dim sum(Dim a, Dim b) = 0;
  virtual Dim difference(Dim a, Dim b) = 0;
  virtual Dim product(Dim a, Dim b) = 0;
  virtual Dim quotient(Dim a, Dim b) = 0;  // rounded down
};

class Numbers final : public Arithmetic {
 public:
  Dim constant(int32_t value) override { return {value, nullptr}; }
  Dim sum(Dim a, Dim b) override { return {a.number + b.number, nullptr}; }
  Dim difference(Dim a, Dim b) override { return {a.number - b.number, nullptr}; }
  Dim product(Dim a, Dim b) override { return {a.number * b.number, nullptr}; }
  Dim quotient(Dim a, Dim b) override {
    const int64_t whole = a.number / b.number;
    return {whole - (a.number % b.number != 0 && (a.number < 0) != (b.number < 0)), nullptr};
  }
};

struct TensorSpec {
  std::string name;
  int32_t rank;
  Type type = Type::kForeign;  // of an output; kForeign: the first input's type
};

// Addresses, and TensorRT's choice among `tactics`, or -1.
struct Call {
  const void* const* inputs;
  void* const* outputs;
  void* workspace;
  int32_t tactic;
  void* stream;
};

// A plugin with its attributes: immutable, shared by contexts and threads. Only launch makes CUDA calls.
class Operator {
 public:
  Operator(Attributes attributes, std::vector<TensorSpec> inputs, std::vector<TensorSpec> outputs);
  virtual ~Operator() = default;
  Operator(const Operator&) = delete;
  Operator& operator=(const Operator&) = delete;

  const Attributes& attributes() const { return attributes_; }
  const std::vector<TensorSpec>& inputs() const { return inputs_; }
  const std::vector<TensorSpec>& outputs() const { return outputs_; }

  // Whether storages[0 .. position], of inputs, then outputs, go together; false for an impossible
  // position or number of tensors.
  bool supports(const Storage* storages, int32_t position, int32_t inputs, int32_t outputs) const;

  // The outputs' shapes; the inputs' ranks must be right.
  virtual void infer(Arithmetic& arithmetic, const Dims* inputs, Dims* outputs) const = 0;

  // Whether the kernel can do inputs of these shapes, and its bytes of workspace. 0 images are judged as 1.
  std::string workspace(const Tensor* inputs, size_t* bytes) const;

  // Whether shapes and storages of all tensors, inputs, then outputs, are those of a launch.
  std::string check(const Tensor* tensors) const;

  // How many variants of the kernel there are for good inputs; 0: no choice.
  virtual int32_t tactics(const Tensor*) const { return 0; }

  // Checks, then runs the kernel, unless the batch is empty.
  std::string launch(const Tensor* tensors, const Call& call) const;

 protected:
  // Whether storages[position] suits the ones before it.
  virtual bool accepts(const Storage* storages, int32_t position) const = 0;
  // As workspace; ranks and sides have been checked, and the batch is not empty.
  virtual std::string validate(const Tensor* inputs, size_t* workspace) const = 0;
  // `tensors` have been checked, and the batch is not empty.
  virtual pssdet_status run(const Tensor* tensors, const Call& call) const = 0;

 private:
  Attributes attributes_;
  std::vector<TensorSpec> inputs_, outputs_;
};

// An operator before its attributes are known.
struct Description {
  const char* name;
  uint32_t magic;  // of its serialised attributes
  AttributeTable attributes;
  std::unique_ptr<Operator> (*make)(const Attributes&);
  // Whether the attributes, each valid for itself, go together; null: they always do.
  std::string (*contradiction)(const Attributes&) = nullptr;
};

template <typename T>
std::unique_ptr<Operator> make(const Attributes& attributes) {
  return std::make_unique<T>(attributes);
}

// Null, with what is wrong in *wrong, if the attributes do not make an operator.
std::shared_ptr<const Operator> make_operator(
    const Description& description, const Attributes& attributes, std::string* wrong);

// The library's plugins (operators/).
const Description& deform_conv();
const Description& generate_proposals();
const Description& multilevel_roi_align();
const Description& multiclass_nms();

constexpr const Description& (*kOperators[])() = {
    deform_conv, generate_proposals, multilevel_roi_align, multiclass_nms};

}  // namespace pssdet::tensorrt
