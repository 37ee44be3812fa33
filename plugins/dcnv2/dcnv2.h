// Modulated deformable convolution (DCNv2), as ONNX DeformConv-19 defines it: plain C, no TensorRT types.
//
//   y[n, o, p] = act(bias[o] + sum over k, c of weight[o, c, k] * mask[n, k, p]
//       * x[n, c, p * stride - pad + k * dilation + offset[n, k, p]])
//
// x is read by bilinear interpolation, zero outside of the image. Coordinates, interpolation and sums are
// float32 whatever the tensors' types are. x must be finite: pixels of weight zero are read too. Offsets may be
// anything; one that is not finite reads zero.
// Every function is free of global state and may be called from any thread.
#ifndef PSSDET_DCNV2_H_
#define PSSDET_DCNV2_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define PSSDET_API __declspec(dllexport)
#else
#define PSSDET_API __attribute__((visibility("default")))
#endif

typedef enum {
  PSSDET_OK = 0,
  PSSDET_BAD_PROBLEM =
      1,  // sizes or formats contradict each other, or a pointer is null or not aligned as it must be
  PSSDET_CUDA_ERROR = 2,  // the launch failed; cudaGetLastError() has been read
} pssdet_status;

// The last value of an enumeration only makes it 32 bits wide.
typedef enum { PSSDET_F32 = 0, PSSDET_F16 = 1, PSSDET_ANY_DTYPE = 0x7FFFFFFF } pssdet_dtype;

// Without gaps but for channels: NHWC pads them with unspecified values to a multiple of 8 (TensorRT's kHWC8).
typedef enum { PSSDET_NCHW = 0, PSSDET_NHWC = 1, PSSDET_ANY_LAYOUT = 0x7FFFFFFF } pssdet_layout;

// Sizes of one convolution; ONNX's attributes by their names.
typedef struct {
  int32_t batch, channels, height, width;
  int32_t out_channels, kernel_h, kernel_w;
  int32_t stride_h, stride_w, dilation_h, dilation_w;
  int32_t pad_top, pad_left, pad_bottom, pad_right;
  int32_t groups, offset_groups;
} pssdet_dcnv2_problem;

// How the tensors lie in memory, and what the kernel does besides convolving.
//
// offset: [N, offset_groups * taps * 2, Ho, Wo], (dy, dx) of each tap; mask: [N, offset_groups * taps, Ho, Wo].
// raw_mask = 1: there is no mask tensor. The offset tensor is the offset convolution's raw output: behind the
//   offsets it has the masks' channels before their sigmoid. PaddleDetection's order of channels, for
//   offset_groups = 1: 18 offsets, 9 masks.
typedef struct {
  pssdet_dtype data_type;     // of x, y and weight
  pssdet_layout data_layout;  // of x and y
  pssdet_dtype offset_type;   // of offset and mask
  pssdet_layout offset_layout;
  int32_t raw_mask;
  int32_t relu;
} pssdet_dcnv2_format;

#define PSSDET_AUTO_TILE (-1)  // a heuristic chooses the tile

PSSDET_API const char* pssdet_dcnv2_version(void);

// 0, with out_h and out_w, if this library computes a convolution of these sizes; else PSSDET_BAD_PROBLEM.
PSSDET_API pssdet_status pssdet_dcnv2_output_size(
    const pssdet_dcnv2_problem* problem, int32_t* out_h, int32_t* out_w);

// The kernels' order of weights: [out_channels, kernel_h, kernel_w, channels / groups], data_type. On the host.
//   oihw: float32 [out_channels, channels / groups, kernel_h, kernel_w]; packed: as many values of `type`.
PSSDET_API pssdet_status pssdet_dcnv2_pack_weights(
    const pssdet_dcnv2_problem* problem, pssdet_dtype type, const float* oihw, void* packed);

// The library's CUDA part; absent from builds without nvcc.

// Tiles of the fused tensor-core kernel, 0 .. count-1; 0 if the problem and format are not its
// (then one general kernel runs).
PSSDET_API int32_t pssdet_dcnv2_tile_count(
    const pssdet_dcnv2_problem* problem, const pssdet_dcnv2_format* format);

// One launch for the whole batch on `stream` (a cudaStream_t): no allocation, no workspace, no synchronisation;
// it can be captured into a CUDA graph. Pointers are to device memory. weight is aligned to 16 bytes, and so
// are x and y if they are NHWC; everything else, to a value of its own type. weight: packed; mask may be null
// (all ones; or none of its own if raw_mask); bias: float32 [out_channels] or null. tile: PSSDET_AUTO_TILE or
// one of the problem's tiles.
PSSDET_API pssdet_status pssdet_dcnv2_run(const pssdet_dcnv2_problem* problem,
    const pssdet_dcnv2_format* format, const void* x, const void* offset, const void* mask, const void* weight,
    const float* bias, void* y, int32_t tile, void* stream);

#ifdef __cplusplus
}  // extern "C"
#endif
#endif  // PSSDET_DCNV2_H_
