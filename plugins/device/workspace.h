// The parts of a workspace.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pssdet {

// Hands out one part after the other, each aligned to 16 bytes; without a start it counts bytes only.
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
