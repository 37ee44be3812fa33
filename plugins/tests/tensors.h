// Tensors as the kernels take them: half or float32, NCHW or NHWC, from and to plain vectors of float32.
#pragma once

#include <cstring>
#include <random>
#include <vector>

#include "../dcnv2/dcnv2.h"
#include "../device/device.h"

namespace pssdet::test {

struct Shape {
  int images, channels, pixels;

  size_t count() const { return size_t(images) * channels * pixels; }
};

// Bytes of one tensor, with kGuard more behind it; 0xFF, which is NaN, wherever no value is.
class Tensor {
 public:
  static constexpr size_t kGuard = 64;

  Tensor(Shape shape, pssdet_dtype type, pssdet_layout layout) : shape_(shape), type_(type), layout_(layout) {
    clear();
  }
  Tensor(Shape shape, pssdet_dtype type, pssdet_layout layout, const std::vector<float>& values)
      : Tensor(shape, type, layout) {
    each([&](size_t from, size_t at) { store(values[from], at); });
  }

  void clear() { bytes_.assign(extent() * size() + kGuard, 0xFF); }
  std::vector<unsigned char>& bytes() { return bytes_; }

  std::vector<float> values() const {
    std::vector<float> result(shape_.count());
    each([&](size_t to, size_t at) { result[to] = load(at); });
    return result;
  }

  // Whether all that is not the tensor's is still as it was: the gaps between pixels and what lies behind.
  bool is_intact_outside() const {
    std::vector<unsigned char> copy = bytes_;
    each([&](size_t, size_t at) { std::memset(copy.data() + at * size(), 0xFF, size()); });
    for (const unsigned char byte : copy) {
      if (byte != 0xFF) return false;
    }
    return true;
  }

 private:
  size_t size() const { return type_ == PSSDET_F16 ? 2 : 4; }
  size_t pitch() const {
    return layout_ == PSSDET_NHWC ? size_t(ceil_div(shape_.channels, 8)) * 8 : size_t(shape_.channels);
  }
  size_t extent() const { return shape_.images * pitch() * shape_.pixels; }

  // visit(place in a packed NCHW vector, place in memory)
  template <typename Visit>
  void each(const Visit& visit) const {
    for (int n = 0; n < shape_.images; ++n) {
      for (int c = 0; c < shape_.channels; ++c) {
        for (int p = 0; p < shape_.pixels; ++p) {
          const size_t packed = (size_t(n) * shape_.channels + c) * shape_.pixels + p;
          visit(packed, layout_ == PSSDET_NHWC ? (size_t(n) * shape_.pixels + p) * pitch() + c : packed);
        }
      }
    }
  }

  float load(size_t at) const {
    if (type_ == PSSDET_F16) return __half2float(reinterpret_cast<const half*>(bytes_.data())[at]);
    return reinterpret_cast<const float*>(bytes_.data())[at];
  }

  void store(float value, size_t at) {
    if (type_ == PSSDET_F16) {
      reinterpret_cast<half*>(bytes_.data())[at] = __float2half_rn(value);
    } else {
      reinterpret_cast<float*>(bytes_.data())[at] = value;
    }
  }

  Shape shape_;
  pssdet_dtype type_;
  pssdet_layout layout_;
  std::vector<unsigned char> bytes_;
};

// Random values that the type holds exactly.
inline std::vector<float> draw(std::mt19937& random, size_t count, float deviation, pssdet_dtype type) {
  std::normal_distribution<float> normal(0.0f, deviation);
  std::vector<float> values(count);
  for (float& value : values) {
    value = normal(random);
    if (type == PSSDET_F16) value = __half2float(__float2half_rn(value));
  }
  return values;
}

}  // namespace pssdet::test
