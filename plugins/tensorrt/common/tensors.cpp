#include "tensors.h"

#include <algorithm>

namespace pssdet::tensorrt {

std::string text_of(const Shape& shape) {
  std::string text = "[";
  for (int32_t i = 0; i < shape.rank; ++i) text += (i ? ", " : "") + std::to_string(shape.size[i]);
  return text + "]";
}

std::string difference(const std::string& name, const Shape& shape, const Shape& expected) {
  if (shape.rank == expected.rank && std::equal(shape.size, shape.size + shape.rank, expected.size)) return {};
  return name + " is " + text_of(shape) + ", not " + text_of(expected);
}

}  // namespace pssdet::tensorrt
