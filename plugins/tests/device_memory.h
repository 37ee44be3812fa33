// What tests on a GPU share: memory there, and whether there is one.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace pssdet::test {

constexpr int kSkipped = 77;  // exit code where there is no GPU

inline void expect(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

struct Free {
  void operator()(void* memory) const { cudaFree(memory); }
};
using DeviceMemory = std::unique_ptr<void, Free>;

inline DeviceMemory on_device(const void* from, size_t bytes) {
  void* memory = nullptr;
  expect(cudaMalloc(&memory, bytes), "cudaMalloc");
  DeviceMemory result(memory);
  expect(cudaMemcpy(memory, from, bytes, cudaMemcpyHostToDevice), "copy to the GPU");
  return result;
}

template <typename Value>
DeviceMemory on_device(const std::vector<Value>& values) {
  return on_device(values.data(), values.size() * sizeof(Value));
}

inline bool has_gpu() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess && count > 0) return true;
  std::printf("skipped: no GPU (%s)\n", error == cudaSuccess ? "none is visible" : cudaGetErrorString(error));
  return false;
}

// What main returns: kSkipped, or 1 if `failures` counts any or throws.
template <typename Failures>
int run_on_gpu(const Failures& failures) {
  if (!has_gpu()) return kSkipped;
  try {
    const int failed = failures();
    std::printf("%d failed\n", failed);
    return failed != 0;
  } catch (const std::exception& error) {
    std::printf("FAILED: %s\n", error.what());
    return 1;
  }
}

}  // namespace pssdet::test
