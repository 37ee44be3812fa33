// What a plugin knows of its tensors: how they lie in memory and how large they are. Nothing here needs TensorRT, whose descriptors
// translation.h translates.
#pragma once

#include <cstdint>
#include <string>

#include "../../detection/detection.h"

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
inline bool is_map(const Storage& storage) { return storage == kFloatLinear || storage == kHalfLinear || storage == kHalfHwc8; }

// The kernels' names, of a storage that is_map.
inline pssdet_dtype dtype_of(const Storage& storage) { return static_cast<pssdet_dtype>(storage.type); }
inline pssdet_layout layout_of(const Storage& storage) { return static_cast<pssdet_layout>(storage.layout); }

struct Shape {
  int32_t rank;
  int64_t size[8];
};

struct Tensor {
  Storage storage;
  Shape shape;
};

std::string text_of(const Shape& shape);  // "[1, 8, 5, 5]"

// "y is [1, 8, 5, 5], not [1, 8, 4, 4]", or nothing.
std::string difference(const std::string& name, const Shape& shape, const Shape& expected);

// A dimension of a shape that may not be known yet: a number, or TensorRT's expression; the arithmetic that made it knows which.
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

// With numbers.
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

}  // namespace pssdet::tensorrt
