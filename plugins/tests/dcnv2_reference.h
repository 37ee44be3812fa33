// The convolution on a CPU, plainly: what the kernels are compared with.
#pragma once

#include "../dcnv2/dcnv2.h"

// The convolution on the CPU, in float32 or, if `exact` is not 0, in float64, rounded at the end. All tensors
// are float32 and NCHW; weight is packed; mask may be null (all ones; none of its own if raw_mask), bias too.
extern "C" PSSDET_API pssdet_status pssdet_dcnv2_reference(const pssdet_dcnv2_problem* problem,
    int32_t raw_mask, int32_t relu, int32_t exact, const float* x, const float* offset, const float* mask,
    const float* weight, const float* bias, float* y);
