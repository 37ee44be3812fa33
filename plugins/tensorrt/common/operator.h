// What a plugin is, whatever the interface that TensorRT wants it in: a description and, once its attributes are known, an operator.
// The wrappers (plugin_v2.cpp, plugin_v3.cpp) are written once, for all of them. Nothing here needs TensorRT.
//
// Functions that return a string return what is wrong, in words, or nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "attributes.h"
#include "tensors.h"

namespace pssdet::tensorrt {

// A tensor of the signature.
struct TensorSpec {
  std::string name;
  int32_t rank;
  Type type = Type::kForeign;  // of an output; kForeign: the first input's type
};

// What `run` gets besides the tensors' shapes: addresses, and TensorRT's choice among `tactics`, or -1.
struct Call {
  const void* const* inputs;
  void* const* outputs;
  void* workspace;
  int32_t tactic;
  void* stream;
};

// A plugin with its attributes. Immutable, so that all of an engine's contexts and threads share one. No function makes a CUDA
// call but launch.
class Operator {
 public:
  Operator(Attributes attributes, std::vector<TensorSpec> inputs, std::vector<TensorSpec> outputs);
  virtual ~Operator() = default;
  Operator(const Operator&) = delete;
  Operator& operator=(const Operator&) = delete;

  const Attributes& attributes() const { return attributes_; }
  const std::vector<TensorSpec>& inputs() const { return inputs_; }
  const std::vector<TensorSpec>& outputs() const { return outputs_; }

  // Whether storages[0 .. position], of inputs, then outputs, go together. Total: false for any position and any wrong number of
  // inputs and outputs.
  bool supports(const Storage* storages, int32_t position, int32_t inputs, int32_t outputs) const;

  // The outputs' shapes; the inputs' ranks must be right.
  virtual void infer(Arithmetic& arithmetic, const Dims* inputs, Dims* outputs) const = 0;

  // Whether the inputs' shapes go together and the kernel can do it, and the bytes of workspace that it then needs. A batch of 0
  // images is judged as one of 1.
  std::string workspace(const Shape* inputs, size_t* bytes) const;

  // Whether shapes and storages of all tensors, inputs, then outputs, are those of a launch.
  std::string check(const Tensor* tensors) const;

  // How many variants of the kernel there are to choose from for inputs that have one; 0: the operator offers no choice.
  virtual int32_t tactics(const Tensor*) const { return 0; }

  // Checks, then runs the kernel, unless the batch is empty.
  std::string launch(const Tensor* tensors, const Call& call) const;

 protected:
  // Whether storages[position] suits the ones before it.
  virtual bool accepts(const Storage* storages, int32_t position) const = 0;
  // As workspace; ranks and sides have been checked, and the batch is not empty.
  virtual std::string validate(const Shape* inputs, size_t* workspace) const = 0;
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
  std::string (*contradiction)(const Attributes&);  // whether the attributes, each valid for itself, go together
  std::unique_ptr<Operator> (*make)(const Attributes&);
};

// Null, with what is wrong in *wrong, if the attributes do not make an operator.
std::shared_ptr<const Operator> make_operator(const Description& description, const Attributes& attributes, std::string* wrong);

}  // namespace pssdet::tensorrt
