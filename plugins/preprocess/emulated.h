// The preprocessing kernel run in the emulator, on host memory: for tests.
#pragma once

#include "preprocess.h"

extern "C" {

// As pssdet_preprocess_run; `stream` is not used.
PSSDET_API pssdet_status pssdet_preprocess_emulated(
    const pssdet_preprocess_problem* problem, const uint8_t* pixels, float* out, void* stream);

}  // extern "C"
