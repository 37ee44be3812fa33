// What the C interface's functions check and work out before anything is computed.
#pragma once

#include "arguments.h"
#include "dcnv2.h"

namespace pssdet::dcnv2 {

// Whether the sizes are those of a convolution, and small enough for the kernels' 32-bit indices.
pssdet_status check(const pssdet_dcnv2_problem& problem, int32_t* out_h, int32_t* out_w);

// The arguments of a launch; PSSDET_BAD_PROBLEM if anything contradicts anything else.
pssdet_status prepare(const pssdet_dcnv2_problem& problem, const pssdet_dcnv2_format& format, const void* x, const void* offset,
    const void* mask, const void* weight, const float* bias, void* y, Arguments* arguments);

// Whether the fused kernel computes it: half NHWC in whole groups of eight channels, one group, few taps.
bool is_fused(const pssdet_dcnv2_problem& problem, const pssdet_dcnv2_format& format);

}  // namespace pssdet::dcnv2
