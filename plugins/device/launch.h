// How a kernel is launched: on a GPU where nvcc compiles this, in the emulator where a C++ compiler does.
//
// A kernel is a class derived from LaunchBounds and from StaticShared or DynamicShared, with
//   Arguments                                   its parameters, a plain structure;
//   static int64_t blocks(const Arguments&)     of a launch's grid;
//   Kernel(const Arguments&, shared).run()      what each thread does. shared: see StaticShared, DynamicShared.
#pragma once

#include "occupancy.h"

#if !defined(__CUDACC__)
#include "../tests/emulator/run_grid.h"
#elif !defined(__CUDACC_RTC__)
#include <cuda_runtime.h>
#endif

namespace pssdet {

// Blocks: that share a multiprocessor; the compiler leaves registers for so many.
// FewestThreads: a kernel that computes the same with any number of warps says 32; the emulator uses fewer.
template <int Threads, int Blocks, int FewestThreads = Threads>
struct LaunchBounds {
  static constexpr int kThreads = Threads, kFewestThreads = FewestThreads;
  static PSSDET_HOST_DEVICE constexpr int blocks_per_multiprocessor(int /*capability*/) { return Blocks; }
};

// The kernel is given a reference to this structure.
template <typename Structure>
struct StaticShared {
  using Shared = Structure;
  static constexpr bool kDynamicShared = false;
  static constexpr int kMaxDynamicShared = 0;
};

// MaxBytes, or what the kernel's own shared_bytes() says: an unsigned char*, aligned to 128 bytes.
template <int MaxBytes>
struct DynamicShared {
  static constexpr bool kDynamicShared = true;
  static constexpr int kMaxDynamicShared = MaxBytes;
  template <typename Arguments>
  static int shared_bytes(const Arguments&) {
    return MaxBytes;
  }
};

#if defined(__CUDACC__)

#if defined(__CUDA_ARCH__)
constexpr int kCompiledFor = __CUDA_ARCH__ / 10;  // the compute capability, 70 for 7.0
#else
constexpr int kCompiledFor = 0;
#endif

template <typename Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, Kernel::blocks_per_multiprocessor(kCompiledFor))
    entry(const __grid_constant__ typename Kernel::Arguments arguments) {
#if defined(__CUDA_ARCH__)
  if constexpr (Kernel::kDynamicShared) {
    extern __shared__ __align__(128) unsigned char dynamic_shared[];
    Kernel(arguments, dynamic_shared).run();
  } else {
    __shared__ typename Kernel::Shared shared;
    Kernel(arguments, shared).run();
  }
#endif
}

#endif

#if defined(__CUDACC__) && !defined(__CUDACC_RTC__)

constexpr int kSharedWithoutAsking = 48 * 1024;

// The current device; without one, zeros.
inline Device current_device() {
  int device = 0, major = 0, minor = 0;
  Device result = {};
  if (cudaGetDevice(&device) == cudaSuccess &&
      cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) == cudaSuccess &&
      cudaDeviceGetAttribute(&result.multiprocessors, cudaDevAttrMultiProcessorCount, device) == cudaSuccess &&
      cudaDeviceGetAttribute(&result.shared_bytes, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device) ==
          cudaSuccess) {
    result.capability = 10 * major + minor;
    return result;
  }
  cudaGetLastError();
  return {};
}

// Changes no result, so a refusal is passed over.
template <typename Kernel>
void prefer_shared_memory(int shared_bytes) {
  const Device device = current_device();
  if (device.shared_bytes == 0) return;
  const int blocks = Kernel::blocks_per_multiprocessor(device.capability);
  const int part = shared_carve_out(device, blocks, shared_bytes);
  if (cudaFuncSetAttribute(entry<Kernel>, cudaFuncAttributePreferredSharedMemoryCarveout, part) != cudaSuccess)
    cudaGetLastError();
}

template <typename Kernel>
pssdet_status run_grid(const typename Kernel::Arguments& arguments, unsigned blocks, void* stream) {
  int shared_bytes = 0;
  if constexpr (Kernel::kDynamicShared) {
    shared_bytes = Kernel::shared_bytes(arguments);
    prefer_shared_memory<Kernel>(shared_bytes);
  } else {
    prefer_shared_memory<Kernel>(int(sizeof(typename Kernel::Shared)));
  }
  if (shared_bytes > kSharedWithoutAsking &&
      cudaFuncSetAttribute(entry<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes) !=
          cudaSuccess) {
    cudaGetLastError();
    return PSSDET_CUDA_ERROR;
  }
  entry<Kernel><<<blocks, Kernel::kThreads, shared_bytes, static_cast<cudaStream_t>(stream)>>>(arguments);
  return cudaGetLastError() == cudaSuccess ? PSSDET_OK : PSSDET_CUDA_ERROR;
}

#endif

#if !defined(__CUDACC_RTC__)

// One launch, on `stream` (a cudaStream_t), unless there are no blocks.
// PSSDET_BAD_PROBLEM if there are more than a grid has.
template <typename Kernel>
pssdet_status launch(const typename Kernel::Arguments& arguments, void* stream) {
  const int64_t blocks = Kernel::blocks(arguments);
  if (blocks > INT32_MAX) return PSSDET_BAD_PROBLEM;
  if (blocks == 0) return PSSDET_OK;
  return run_grid<Kernel>(arguments, unsigned(blocks), stream);
}

// Several launches with the same arguments, each after the one before; the first failure ends them.
template <typename... Kernels, typename Arguments>
pssdet_status launch_in_turn(const Arguments& arguments, void* stream) {
  pssdet_status status = PSSDET_OK;
  ((status = status == PSSDET_OK ? launch<Kernels>(arguments, stream) : status), ...);
  return status;
}

#endif

}  // namespace pssdet
