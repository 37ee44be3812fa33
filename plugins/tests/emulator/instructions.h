// What dcnv2/instructions.cuh is on a GPU, in the emulator.
#pragma once

#include "../../device/device.h"

namespace pssdet::dcnv2 {

struct WmmaA {
  float x[256];
};
struct WmmaB {
  float x[256];
};
struct WmmaC {  // each lane holds eight consecutive values
  static constexpr int num_elements = 8;
  float x[8];
};

inline int wmma_lane() { return int(threadIdx.x) % 32; }
inline void wmma_fill(WmmaC& c, float value) { std::fill(c.x, c.x + 8, value); }
template <typename T>
inline void wmma_check(const T* matrix, int pitch) {
  if (pitch * sizeof(T) % 16) emulator::fail("wmma needs a pitch of whole 16 bytes");
  if (reinterpret_cast<uintptr_t>(matrix) % 32) emulator::fail("wmma needs matrices aligned to 32 bytes");
}
template <typename Fragment>
inline void wmma_load_half(Fragment& fragment, const half* from, int pitch) {
  wmma_check(from, pitch);
  for (int i = 0; i < 256; ++i) fragment.x[i] = __half2float(from[i / 16 * pitch + i % 16]);
}
inline void wmma_load(WmmaA& a, const half* from, int pitch) { wmma_load_half(a, from, pitch); }
inline void wmma_load(WmmaB& b, const half* from, int pitch) { wmma_load_half(b, from, pitch); }
inline void wmma_load(WmmaC& c, const float* from, int pitch) {
  wmma_check(from, pitch);
  for (int i = 0; i < 8; ++i) c.x[i] = from[(wmma_lane() * 8 + i) / 16 * pitch + (wmma_lane() * 8 + i) % 16];
}
inline void wmma_store(float* to, const WmmaC& c, int pitch) {
  wmma_check(to, pitch);
  for (int i = 0; i < 8; ++i) to[(wmma_lane() * 8 + i) / 16 * pitch + (wmma_lane() * 8 + i) % 16] = c.x[i];
  __syncwarp();
}
inline void wmma_multiply(WmmaC& c, const WmmaA& a, const WmmaB& b) {
  for (int i = 0; i < 8; ++i) {
    const int row = (wmma_lane() * 8 + i) / 16, column = (wmma_lane() * 8 + i) % 16;
    for (int k = 0; k < 16; ++k) c.x[i] += a.x[row * 16 + k] * b.x[column * 16 + k];
  }
}

inline void load_matrices(uint32_t (&part)[4], const half* row) {
  if (reinterpret_cast<uintptr_t>(row) % 16) emulator::fail("ldmatrix needs rows aligned to 16 bytes");
  emulator::exchange(row, [&](const half* const* rows, int lane) {
    for (int matrix = 0; matrix < 4; ++matrix)
      std::memcpy(&part[matrix], rows[8 * matrix + lane / 4] + lane % 4 * 2, 4);
  });
}

struct Operands {
  half a[4][2], b[2][2];
};

inline void multiply_16x8x16(float* c, const uint32_t* a, const uint32_t* b) {
  Operands own;
  std::memcpy(own.a, a, sizeof(own.a));
  std::memcpy(own.b, b, sizeof(own.b));
  emulator::exchange(own, [&](const Operands* all, int lane) {
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      for (int k = 0; k < 16; ++k) {
        const half left = all[row % 8 * 4 + k % 8 / 2].a[row / 8 + k / 8 * 2][k % 2];
        const half right = all[column * 4 + k % 8 / 2].b[k / 8][k % 2];
        c[i] += __half2float(left) * __half2float(right);
      }
    }
  });
}

inline void copy_async(half* to, const Half8* from, bool inside) {
  emulator::thread().groups.back().push_back({to, from, inside ? size_t(16) : size_t(0)});
}
inline void commit_copies() { emulator::thread().groups.emplace_back(); }
template <int kPending>
inline void wait_for_copies() {
  auto& groups = emulator::thread().groups;
  while (groups.size() > size_t(kPending) + 1) {
    for (const emulator::Copy& copy : groups.front()) {
      std::memset(copy.to, 0, 16);
      std::memcpy(copy.to, copy.from, copy.bytes);
    }
    groups.erase(groups.begin());
  }
}

}  // namespace pssdet::dcnv2
