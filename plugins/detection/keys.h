// Candidates as keys of 64 bits whose order as numbers is that in which candidates are chosen: the higher score first, and of equal
// scores the lower index. No two keys of candidates are equal, so every choice among them has one result, whichever thread makes it.
#pragma once

#include <cstdint>

#include "../device/device.h"

namespace pssdet::detection {

// Below every key of a candidate.
constexpr uint64_t kNoKey = 0;
constexpr uint32_t kNoScore = 0;

// ONNX has -inf for candidates that are none, and asks whether a score passes this.
constexpr float kAnyScore = -3e38f;

// The order of floats, as that of whole numbers; zeros are equal whatever their sign, NaN comes first as in ONNX Runtime's TopK.
PSSDET_DEVICE uint32_t order_of(float score) {
  if (score != score) return 0xFFFFFFFFu;
  const uint32_t bits = __float_as_uint(score == 0.0f ? 0.0f : score);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// Inverse of order_of; NaN for NaN.
PSSDET_DEVICE float score_of(uint32_t order) { return __uint_as_float(order & 0x80000000u ? order & 0x7FFFFFFFu : ~order); }

PSSDET_DEVICE uint64_t key_of(uint32_t order, uint32_t index) { return uint64_t(order) << 32 | uint32_t(~index); }
PSSDET_DEVICE uint32_t order_in(uint64_t key) { return uint32_t(key >> 32); }
PSSDET_DEVICE uint32_t index_in(uint64_t key) { return ~uint32_t(key); }

}  // namespace pssdet::detection
