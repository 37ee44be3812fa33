// The convolutions that the kernels are tested with, in the emulator and on a GPU.
#pragma once

#include "../dcnv2/dcnv2.h"

namespace pssdet::test {

struct Case {
  const char* name;
  pssdet_dcnv2_problem problem;
  pssdet_dcnv2_format format;
  bool with_mask, with_bias;
  float reach;  // standard deviation of the offsets, pixels
};

constexpr pssdet_dcnv2_format kFast = {PSSDET_F16, PSSDET_NHWC, PSSDET_F32, PSSDET_NCHW, 0, 0};
constexpr pssdet_dcnv2_format kRaw = {PSSDET_F16, PSSDET_NHWC, PSSDET_F16, PSSDET_NHWC, 1, 1};
constexpr pssdet_dcnv2_format kFloat = {PSSDET_F32, PSSDET_NCHW, PSSDET_F32, PSSDET_NCHW, 0, 0};
constexpr pssdet_dcnv2_format kHalfPlanes = {PSSDET_F16, PSSDET_NCHW, PSSDET_F16, PSSDET_NCHW, 1, 1};
constexpr pssdet_dcnv2_format kFloatLast = {PSSDET_F32, PSSDET_NHWC, PSSDET_F32, PSSDET_NHWC, 1, 0};

//                       n  c   h  w  out  kh kw sh sw dh dw pads        g  og
constexpr Case kCases[] = {
    {"3x3", {1, 64, 9, 11, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, kFast, true, true, 1.5f},
    {"3x3, stride 2, batch of 3", {3, 32, 11, 8, 32, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1}, kFast, true, false,
        1.5f},
    {"raw offsets, far outside", {2, 40, 7, 10, 264, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, kRaw, false, true,
        8.0f},
    {"2x3, dilated, uneven padding", {1, 24, 10, 9, 72, 2, 3, 1, 2, 2, 1, 0, 2, 1, 0, 1, 1}, kFast, false,
        false, 2.0f},
    {"whole k-tiles and columns", {1, 128, 4, 5, 256, 2, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1}, kFast, true, true,
        1.5f},
    {"1x1, one pixel", {1, 8, 1, 1, 8, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1}, kFast, true, true, 0.4f},
    {"float32", {2, 20, 9, 11, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, kFloat, true, true, 1.5f},
    {"float32, groups and offset groups", {2, 24, 8, 9, 12, 3, 3, 2, 1, 1, 2, 1, 2, 1, 2, 2, 3}, kFloat, true,
        false, 3.0f},
    {"half planes, raw", {1, 12, 8, 9, 10, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2, 1, 2}, kHalfPlanes, false, true, 3.0f},
    {"float32 NHWC, odd channels", {2, 5, 6, 7, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, kFloatLast, false, true,
        2.0f},
    {"half NHWC, groups", {1, 16, 6, 7, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 4, 2}, kFast, true, false, 2.0f},
    {"half NHWC, 16 groups of 8", {1, 128, 5, 7, 128, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 16, 1}, kRaw, false, true,
        2.0f},
    {"half NHWC, 3 groups of 40 to 24", {1, 120, 4, 5, 72, 1, 3, 1, 1, 1, 1, 0, 1, 0, 1, 3, 1}, kFast, true,
        true, 2.0f},
    {"float32, 32 groups of 4, 2 offset groups", {1, 128, 5, 6, 128, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 32, 2},
        kFloat, true, true, 2.0f},
    {"float32, depthwise", {1, 72, 5, 6, 72, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 72, 1}, kFloat, true, false, 2.0f},
};

// Layers of ResNet-50 at 640 x 640: too slow for the emulator.
constexpr Case kLargeCases[] = {
    {"stage 3, 40 x 40", {2, 256, 40, 40, 256, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, kFast, true, true, 1.5f},
    {"stage 3, first, raw", {2, 256, 80, 80, 256, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1}, kRaw, false, true, 1.5f},
    {"stage 4, 20 x 20", {1, 512, 20, 20, 512, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, kRaw, false, true, 4.0f},
    {"stage 4, float32", {1, 512, 20, 20, 512, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, kFloat, true, false, 1.5f},
};

}  // namespace pssdet::test
