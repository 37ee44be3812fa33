// The RoIAlign kernel run in the emulator, on host memory: for tests.
#pragma once

#include "detection.h"

extern "C" {

// As pssdet_roi_align_run; `stream` is not used.
PSSDET_API pssdet_status pssdet_roi_align_emulated(const pssdet_roi_align_problem* problem, pssdet_dtype type,
    pssdet_layout layout, const void* const* maps, const float* rois, void* features, void* stream);

}  // extern "C"

namespace pssdet::roi_align {

// reversed: the threads of a block run in the opposite order.
pssdet_status emulate_roi_align(const pssdet_roi_align_problem& problem, pssdet_dtype type, pssdet_layout layout,
    const void* const* maps, const float* rois, void* features, bool reversed);

}  // namespace pssdet::roi_align
