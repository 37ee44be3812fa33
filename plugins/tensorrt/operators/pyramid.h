// What the plugins over a feature pyramid share: one map per level, as many as there are strides.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "../common/operator.h"

namespace pssdet::tensorrt {

inline int32_t levels_of(const Attributes& attributes) { return int32_t(attributes.integers("strides").size()); }

// Appends the inputs kind_0 .. kind_{L-1}.
inline void add_maps(std::vector<TensorSpec>* specs, const std::string& kind, int32_t levels) {
  for (int32_t i = 0; i < levels; ++i) specs->push_back({kind + "_" + std::to_string(i), 4});
}

// The pyramid without its maps' sizes.
inline pssdet_pyramid pyramid_of(const Attributes& attributes) {
  pssdet_pyramid pyramid{};
  const std::vector<int32_t>& strides = attributes.integers("strides");
  pyramid.levels = int32_t(strides.size());
  std::copy(strides.begin(), strides.end(), pyramid.strides);
  return pyramid;
}

// shape_of(i): the shape of level i's map.
template <typename ShapeOf>
void set_sizes(pssdet_pyramid* pyramid, ShapeOf shape_of) {
  for (int32_t i = 0; i < pyramid->levels; ++i) {
    pyramid->height[i] = int32_t(shape_of(i).size[2]);
    pyramid->width[i] = int32_t(shape_of(i).size[3]);
  }
}

}  // namespace pssdet::tensorrt
