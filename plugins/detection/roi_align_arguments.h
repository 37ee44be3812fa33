// What the RoIAlign kernels are told.
#pragma once

#include <cstdint>

#include "../device/device.h"
#include "detection.h"

namespace pssdet::roi_align {

constexpr int kRoiThreads = 224;  // 64 channels of 7 x 7 bins are 14 values for each
constexpr int kRoiChannels = 64;  // of a block

struct RoiAlignArguments {
  pssdet_roi_align_problem problem;
  const void* maps[PSSDET_MAX_LEVELS];
  const float* rois;
  void* features;
  float bounds[PSSDET_MAX_LEVELS];  // relative size from which on a region is of level i or a later one; the first is not used
  int32_t channel_pitch;            // of the maps, NHWC: values between two pixels
  int32_t parts;                    // blocks of a region
};

// The arguments of a launch, with the number of blocks, which is 0 if there is no region; PSSDET_BAD_PROBLEM if anything contradicts
// anything else.
pssdet_status prepare(const pssdet_roi_align_problem& problem, pssdet_dtype type, pssdet_layout layout, const void* const* maps,
    const float* rois, void* features, RoiAlignArguments* arguments, uint32_t* blocks);

}  // namespace pssdet::roi_align
