// The instructions that have no portable spelling: tensor cores and asynchronous copies, on a GPU or in the emulator.
#pragma once

#include "../device/device.h"

#if defined(__CUDACC__)
#include <mma.h>
#endif

namespace pssdet::dcnv2 {

#if defined(__CUDACC__)

using WmmaA = nvcuda::wmma::fragment<nvcuda::wmma::matrix_a, 16, 16, 16, half, nvcuda::wmma::row_major>;
using WmmaB = nvcuda::wmma::fragment<nvcuda::wmma::matrix_b, 16, 16, 16, half, nvcuda::wmma::col_major>;
using WmmaC = nvcuda::wmma::fragment<nvcuda::wmma::accumulator, 16, 16, 16, float>;

PSSDET_DEVICE void wmma_fill(WmmaC& c, float value) { nvcuda::wmma::fill_fragment(c, value); }
PSSDET_DEVICE void wmma_load(WmmaA& a, const half* from, int pitch) { nvcuda::wmma::load_matrix_sync(a, from, pitch); }
PSSDET_DEVICE void wmma_load(WmmaB& b, const half* from, int pitch) { nvcuda::wmma::load_matrix_sync(b, from, pitch); }
PSSDET_DEVICE void wmma_load(WmmaC& c, const float* from, int pitch) {
  nvcuda::wmma::load_matrix_sync(c, from, pitch, nvcuda::wmma::mem_row_major);
}
PSSDET_DEVICE void wmma_store(float* to, const WmmaC& c, int pitch) {
  nvcuda::wmma::store_matrix_sync(to, c, pitch, nvcuda::wmma::mem_row_major);
}
PSSDET_DEVICE void wmma_multiply(WmmaC& c, const WmmaA& a, const WmmaB& b) { nvcuda::wmma::mma_sync(c, a, b, c); }

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800

PSSDET_DEVICE uint32_t shared_address(const void* pointer) { return uint32_t(__cvta_generic_to_shared(pointer)); }

// Four 8 x 8 matrices of halves; lane 8 i + j gives the address of row j of matrix i.
PSSDET_DEVICE void load_matrices(uint32_t (&part)[4], const half* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
      : "=r"(part[0]), "=r"(part[1]), "=r"(part[2]), "=r"(part[3])
      : "r"(shared_address(row))
      : "memory");
}

PSSDET_DEVICE void multiply_16x8x16(float* c, const uint32_t* a, const uint32_t* b) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// 16 bytes from global to shared memory, or as many zeros.
PSSDET_DEVICE void copy_async(half* to, const Half8* from, bool inside) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(inside ? 16 : 0)
      : "memory");
}
PSSDET_DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kPending>
PSSDET_DEVICE void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

#endif

#else  // the emulator

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
    for (int matrix = 0; matrix < 4; ++matrix) std::memcpy(&part[matrix], rows[8 * matrix + lane / 4] + lane % 4 * 2, 4);
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

#endif

}  // namespace pssdet::dcnv2
