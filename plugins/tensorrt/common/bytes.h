// 32-bit words to and from the bytes of a plan, little-endian on every machine. Plans come from files, so a reader expects
// anything and never reads past its end.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pssdet::tensorrt {

class Writer {
 public:
  explicit Writer(void* to) : at_(static_cast<unsigned char*>(to)) {}

  void put(uint32_t word) {
    for (int shift = 0; shift < 32; shift += 8) *at_++ = static_cast<unsigned char>(word >> shift);
  }

 private:
  unsigned char* at_;
};

class Reader {
 public:
  Reader(const void* from, size_t size) : at_(static_cast<const unsigned char*>(from)), left_(from ? size : 0) {}

  size_t left() const { return left_; }

  bool get(uint32_t* word) {
    if (left_ < 4) return false;
    *word = 0;
    for (int shift = 0; shift < 32; shift += 8) *word |= uint32_t(*at_++) << shift;
    left_ -= 4;
    return true;
  }

 private:
  const unsigned char* at_;
  size_t left_;
};

}  // namespace pssdet::tensorrt
