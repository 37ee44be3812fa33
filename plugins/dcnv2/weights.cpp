// The kernels' order of weights.
#include "arguments.h"

namespace {

// [O, I, taps] to [O, taps, I].
template <typename T>
void pack(const float* oihw, int64_t outputs, int64_t inputs, int64_t taps, T* packed) {
  for (int64_t o = 0; o < outputs; ++o) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int64_t i = 0; i < inputs; ++i)
        pssdet::from_float(oihw[(o * inputs + i) * taps + tap], packed + (o * taps + tap) * inputs + i);
    }
  }
}

}  // namespace

extern "C" pssdet_status pssdet_dcnv2_pack_weights(
    const pssdet_dcnv2_problem* problem, pssdet_dtype type, const float* oihw, void* packed) {
  int32_t out_h = 0, out_w = 0;
  if (!problem || !oihw || !packed || pssdet::dcnv2::check(*problem, &out_h, &out_w) != PSSDET_OK) return PSSDET_BAD_PROBLEM;
  const int64_t inputs = problem->channels / problem->groups, taps = int64_t(problem->kernel_h) * problem->kernel_w;
  if (type == PSSDET_F32) {
    pack(oihw, problem->out_channels, inputs, taps, static_cast<float*>(packed));
  } else if (type == PSSDET_F16) {
    pack(oihw, problem->out_channels, inputs, taps, static_cast<half*>(packed));
  } else {
    return PSSDET_BAD_PROBLEM;
  }
  return PSSDET_OK;
}
