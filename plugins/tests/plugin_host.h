// For the tests of the plugin library: a TensorRT loaded at run time, and expressions for shapes without a
// builder, which would need a GPU.
#pragma once

#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace plugin_host {

constexpr int kSkipped = 77;  // the exit status that ctest knows

// TensorRT from a path, or by its name if the path is empty; symbols stay local to it, as they do in Python.
inline void* open_tensorrt(const std::string& path) {
  const std::string major = std::to_string(NV_TENSORRT_MAJOR);
  const std::vector<std::string> names = path.empty()
      ? std::vector<std::string>{"libnvinfer.so." + major, "libnvinfer_lean.so." + major}
      : std::vector<std::string>{path};
  for (const std::string& name : names) {
    if (void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
  }
  return nullptr;
}

// Whether its interfaces are those of the headers (see registration.cpp).
inline bool fits(void* tensorrt) {
  const int32_t version = reinterpret_cast<int32_t (*)()>(dlsym(tensorrt, "getInferLibVersion"))();
  return NV_TENSORRT_MAJOR >= 10 ? version / 10000 == NV_TENSORRT_MAJOR : version == NV_TENSORRT_VERSION;
}

inline nvinfer1::IPluginRegistry* registry_of(void* tensorrt) {
  return reinterpret_cast<nvinfer1::IPluginRegistry* (*)()>(dlsym(tensorrt, "getPluginRegistry"))();
}

#if NV_TENSORRT_MAJOR >= 10
using Number = int64_t;
#else
using Number = int32_t;
#endif

class Expression final : public nvinfer1::IDimensionExpr, private nvinfer1::apiv::VDimensionExpr {
 public:
  explicit Expression(Number value) : value_(value) { mImpl = this; }
  ~Expression() noexcept override = default;
  Number value() const { return value_; }

 private:
  bool isConstant() const override { return true; }
  Number getConstantValue() const override { return value_; }
#if NV_TENSORRT_MAJOR >= 10
  bool isSizeTensor() const override { return false; }
#endif
  Number value_;
};

// Computes at once what TensorRT would keep as an expression.
class Calculator final : public nvinfer1::IExprBuilder, private nvinfer1::apiv::VExprBuilder {
 public:
  Calculator() { mImpl = this; }
  ~Calculator() noexcept override = default;

  const Expression* number(Number value) {
    made_.push_back(std::make_unique<Expression>(value));
    return made_.back().get();
  }

  nvinfer1::DimsExprs shape(const std::vector<Number>& sizes) {
    nvinfer1::DimsExprs dims{};
    dims.nbDims = int32_t(sizes.size());
    for (size_t i = 0; i < sizes.size(); ++i) dims.d[i] = number(sizes[i]);
    return dims;
  }

  static std::vector<Number> sizes(const nvinfer1::DimsExprs& dims) {
    std::vector<Number> sizes;
    for (int32_t i = 0; i < dims.nbDims; ++i)
      sizes.push_back(static_cast<const Expression*>(dims.d[i])->value());
    return sizes;
  }

 private:
  const nvinfer1::IDimensionExpr* constant(Number value) override { return number(value); }

  const nvinfer1::IDimensionExpr* operation(nvinfer1::DimensionOperation operation,
      const nvinfer1::IDimensionExpr& first, const nvinfer1::IDimensionExpr& second) override {
    const Number a = static_cast<const Expression&>(first).value(),
                 b = static_cast<const Expression&>(second).value();
    switch (operation) {
      case nvinfer1::DimensionOperation::kSUM: return number(a + b);
      case nvinfer1::DimensionOperation::kSUB: return number(a - b);
      case nvinfer1::DimensionOperation::kPROD: return number(a * b);
      case nvinfer1::DimensionOperation::kFLOOR_DIV: return number(a / b - (a % b != 0 && (a < 0) != (b < 0)));
      default: return nullptr;
    }
  }

#if NV_TENSORRT_MAJOR >= 10
  const nvinfer1::IDimensionExpr* declareSizeTensor(
      int32_t, const nvinfer1::IDimensionExpr&, const nvinfer1::IDimensionExpr&) override {
    return nullptr;
  }
#endif

  std::vector<std::unique_ptr<Expression>> made_;
};

}  // namespace plugin_host
