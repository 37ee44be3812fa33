// What the kernels' C functions share on the host: checks of sizes, formats and pointers, parts of a workspace.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>

#include "../dcnv2/dcnv2.h"

namespace pssdet {

// What kernels count in 32 bits stays below this.
constexpr int64_t kMost = std::numeric_limits<int32_t>::max();

inline bool within(int64_t value, int64_t most) { return value >= 1 && value <= most; }
inline bool positive(std::initializer_list<int32_t> values) {
  for (const int32_t value : values) {
    if (value < 1) return false;
  }
  return true;
}

inline bool finite_from_zero(float value) { return std::isfinite(value) && value >= 0; }
inline bool is_share(float value) { return value >= 0 && value <= 1; }

inline bool known(pssdet_dtype type) { return type == PSSDET_F32 || type == PSSDET_F16; }
inline bool known(pssdet_layout layout) { return layout == PSSDET_NCHW || layout == PSSDET_NHWC; }

// How tensors are read decides how their addresses must be aligned: single values, or 16 bytes at once.
constexpr int kVector = 16;
inline int bytes_of(pssdet_dtype type) { return type == PSSDET_F16 ? 2 : 4; }
inline int alignment_of(pssdet_dtype type, pssdet_layout layout) {
  return layout == PSSDET_NHWC ? kVector : bytes_of(type);
}

inline bool usable(const void* pointer, int alignment) {
  return pointer && reinterpret_cast<uintptr_t>(pointer) % uintptr_t(alignment) == 0;
}
inline bool usable(std::initializer_list<const void*> pointers, int alignment) {
  for (const void* pointer : pointers) {
    if (!usable(pointer, alignment)) return false;
  }
  return true;
}

// Hands out the parts of a workspace in turn, each aligned to 16 bytes; without a start it counts bytes only.
class Workspace {
 public:
  explicit Workspace(void* start) : start_(static_cast<unsigned char*>(start)) {}

  template <typename T>
  T* next(int64_t count) {
    T* part = start_ ? reinterpret_cast<T*>(start_ + bytes_) : nullptr;
    bytes_ += (size_t(count) * sizeof(T) + 15) / 16 * 16;
    return part;
  }
  size_t bytes() const { return bytes_; }

 private:
  unsigned char* start_;
  size_t bytes_ = 0;
};

}  // namespace pssdet
