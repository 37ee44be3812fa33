// Resizes, normalises and pads a picture in one kernel, as models/preprocess.py does it with OpenCV; plain C.
//
// Linear interpolation of 8-bit pixels is OpenCV's fixed-point arithmetic, bit by bit. The rest is float32 with
// coordinates in float64, as OpenCV's wheels for x86 do it, with IPP: there, fewer than one in 1000 values of
// cubic interpolation of 8-bit pixels differ, by one grey level, and normalised ones by less than 0.001.
// Elsewhere, and with IPP where a picture is all too narrow, OpenCV has cubic weights of 11 bits, and about one
// in 20 values differs by one grey level.
#ifndef PSSDET_PREPROCESS_H_
#define PSSDET_PREPROCESS_H_

#include "../dcnv2/dcnv2.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  PSSDET_LINEAR = 0,
  PSSDET_CUBIC = 1,
  PSSDET_ANY_INTERPOLATION = 0x7FFFFFFF
} pssdet_interpolation;

typedef struct {
  int32_t height, width;                // of the picture
  int32_t out_height, out_width;        // of the resized picture
  int32_t padded_height, padded_width;  // of the result, whose right and bottom are zero
  double scale_y,
      scale_x;  // the picture's pixels per resized one: 1 / factor. Equal sizes are copied, as in OpenCV
  pssdet_interpolation interpolation;
  int32_t normalise_first;  // 1: normalised values are resized; 0: 8-bit pixels are, and rounded
  float mean[3], std[3];    // of pixels scaled to 0..1: value = (pixel / 255 - mean) / std
} pssdet_preprocess_problem;

// pixels: uint8 [height, width, 3], out: float32 [3, padded_height, padded_width], both in device memory; out
// may be an image's place in a batch. One launch on `stream` (a cudaStream_t): no allocation, no
// synchronisation; it can be captured into a CUDA graph. PSSDET_BAD_PROBLEM if the sizes contradict each other
// or are too large, or a number is not finite.
PSSDET_API pssdet_status pssdet_preprocess_run(
    const pssdet_preprocess_problem* problem, const uint8_t* pixels, float* out, void* stream);

#ifdef __cplusplus
}  // extern "C"
#endif
#endif  // PSSDET_PREPROCESS_H_
