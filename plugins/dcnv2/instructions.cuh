// Instructions without a portable spelling: tensor cores and asynchronous copies, on a GPU or in the emulator.
#pragma once

#include "../device/device.h"

#if !defined(__CUDACC__)
#include "../tests/emulator/instructions.h"
#else
#include <mma.h>

namespace pssdet::dcnv2 {

using WmmaA = nvcuda::wmma::fragment<nvcuda::wmma::matrix_a, 16, 16, 16, half, nvcuda::wmma::row_major>;
using WmmaB = nvcuda::wmma::fragment<nvcuda::wmma::matrix_b, 16, 16, 16, half, nvcuda::wmma::col_major>;
using WmmaC = nvcuda::wmma::fragment<nvcuda::wmma::accumulator, 16, 16, 16, float>;

PSSDET_DEVICE void wmma_fill(WmmaC& c, float value) { nvcuda::wmma::fill_fragment(c, value); }
PSSDET_DEVICE void wmma_load(WmmaA& a, const half* from, int pitch) {
  nvcuda::wmma::load_matrix_sync(a, from, pitch);
}
PSSDET_DEVICE void wmma_load(WmmaB& b, const half* from, int pitch) {
  nvcuda::wmma::load_matrix_sync(b, from, pitch);
}
PSSDET_DEVICE void wmma_load(WmmaC& c, const float* from, int pitch) {
  nvcuda::wmma::load_matrix_sync(c, from, pitch, nvcuda::wmma::mem_row_major);
}
PSSDET_DEVICE void wmma_store(float* to, const WmmaC& c, int pitch) {
  nvcuda::wmma::store_matrix_sync(to, c, pitch, nvcuda::wmma::mem_row_major);
}
PSSDET_DEVICE void wmma_multiply(WmmaC& c, const WmmaA& a, const WmmaB& b) {
  nvcuda::wmma::mma_sync(c, a, b, c);
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800

PSSDET_DEVICE uint32_t shared_address(const void* pointer) {
  return uint32_t(__cvta_generic_to_shared(pointer));
}

// Four 8 x 8 matrices of halves; lane 8 i + j gives the address of row j of matrix i.
PSSDET_DEVICE void load_matrices(uint32_t (&part)[4], const half* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
      : "=r"(part[0]), "=r"(part[1]), "=r"(part[2]), "=r"(part[3])
      : "r"(shared_address(row))
      : "memory");
}

PSSDET_DEVICE void multiply_16x8x16(float* c, const uint32_t* a, const uint32_t* b) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// 16 bytes from global to shared memory, or as many zeros.
PSSDET_DEVICE void copy_async(half* to, const Half8* from, bool inside) {
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(inside ? 16 : 0)
      : "memory");
}
PSSDET_DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kPending>
PSSDET_DEVICE void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

#endif

}  // namespace pssdet::dcnv2

#endif
