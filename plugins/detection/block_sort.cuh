// Sorting in shared memory by the threads of a block: Batcher's bitonic sort.
#pragma once

#include "keys.h"

namespace pssdet::detection {

PSSDET_HOST_DEVICE constexpr int power_of_two_from(int least) {
  int power = 1;
  while (power < least) power *= 2;
  return power;
}

// Puts keys[0, count) in falling order. There must be room up to the next power of two, which is filled with kNoKey.
PSSDET_DEVICE void sort_falling(uint64_t* keys, int count) {
  const int size = power_of_two_from(count);
  for (int i = count + int(threadIdx.x); i < size; i += int(blockDim.x)) keys[i] = kNoKey;
  __syncthreads();
  for (int run = 2; run <= size; run *= 2) {
    for (int apart = run / 2; apart > 0; apart /= 2) {
      for (int pair = int(threadIdx.x); pair < size / 2; pair += int(blockDim.x)) {
        const int first = 2 * pair - (pair & (apart - 1)), second = first + apart;
        const uint64_t a = keys[first], b = keys[second];
        const bool falling = (first & run) == 0;
        if ((a < b) == falling) {
          keys[first] = b;
          keys[second] = a;
        }
      }
      // The 32 pairs of a warp are within 64 keys if they are at most 32 apart, now and in the next step.
      const int next = apart > 1 ? apart / 2 : run;
      if (apart <= 32 && next <= 32) {
        __syncwarp();
      } else {
        __syncthreads();
      }
    }
  }
  __syncthreads();
}

}  // namespace pssdet::detection
