// How a GPU shares out its multiprocessors to blocks, as far as kernels and their launches decide on it.
#pragma once

#include "device.h"

namespace pssdet {

struct Device {
  int capability;       // compute capability, 70 for 7.0
  int multiprocessors;  // in all
  int shared_bytes;     // of a multiprocessor; its blocks may use so many together
};

// CUDA C++ Programming Guide, technical specifications per compute capability.
PSSDET_HOST_DEVICE constexpr int shared_bytes_of(int capability) {
  return 1024 *
      (capability == 75                              ? 64
              : capability < 80                      ? 96
              : capability == 80                     ? 164
              : capability >= 90 && capability < 120 ? 228
                                                     : 100);
}

// Bytes that the system takes of each block's shared memory.
PSSDET_HOST_DEVICE constexpr int reserved_shared_bytes(int capability) { return capability >= 80 ? 1024 : 0; }

// Blocks that one multiprocessor runs at a time: `most`, if its shared memory has room for them.
PSSDET_HOST_DEVICE constexpr int resident_blocks(
    int most, int shared_bytes_of_block, int capability, int shared_bytes) {
  const int room = shared_bytes / (shared_bytes_of_block + reserved_shared_bytes(capability));
  return room < 1 ? 1 : room < most ? room : most;
}

// The part of a multiprocessor's memory, in hundredths, that the blocks of a kernel need as shared memory. A
// GPU keeps its caches in the rest, and is told, since it would else choose without knowing how many should
// fit.
inline int shared_carve_out(const Device& device, int blocks, int shared_bytes) {
  const int64_t bytes = int64_t(blocks) * (shared_bytes + reserved_shared_bytes(device.capability));
  const int64_t part = (100 * bytes + device.shared_bytes - 1) / device.shared_bytes;
  return part > 100 ? 100 : int(part);
}

}  // namespace pssdet
