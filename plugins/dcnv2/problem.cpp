// The CPU part of the C interface: checks of a problem, and the kernels' order of weights.
#include "../device/validation.h"
#include "arguments.h"

namespace pssdet::dcnv2 {

namespace {

// What the kernels count in 32 bits stays below these.
constexpr int64_t kMostPixels =
    kMost / 4;  // of a batch: the fused kernel's gather table has two more bits beside each
constexpr int64_t kMostChannels = kMost / 2;  // with room for the last tile, and for padding
constexpr int64_t kMostSide = 1 << 24;        // with its padding: float32 knows every whole number up to here

// Zero if the kernel does not fit, or if the image with its padding is too large.
int64_t out_side(
    int64_t side, int64_t before, int64_t after, int64_t kernel, int64_t dilation, int64_t stride) {
  const int64_t padded = side + before + after, room = padded - (dilation * (kernel - 1) + 1);
  return room < 0 || padded > kMostSide ? 0 : room / stride + 1;
}

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

pssdet_status check(const pssdet_dcnv2_problem& p, int32_t* out_h, int32_t* out_w) {
  if (!positive({p.batch, p.channels, p.height, p.width, p.out_channels, p.kernel_h, p.kernel_w, p.stride_h,
          p.stride_w, p.dilation_h, p.dilation_w, p.groups, p.offset_groups})) {
    return PSSDET_BAD_PROBLEM;
  }
  if (p.pad_top < 0 || p.pad_left < 0 || p.pad_bottom < 0 || p.pad_right < 0) return PSSDET_BAD_PROBLEM;
  if (p.channels % p.groups || p.out_channels % p.groups || p.channels % p.offset_groups)
    return PSSDET_BAD_PROBLEM;
  const int64_t rows = out_side(p.height, p.pad_top, p.pad_bottom, p.kernel_h, p.dilation_h, p.stride_h);
  const int64_t columns = out_side(p.width, p.pad_left, p.pad_right, p.kernel_w, p.dilation_w, p.stride_w);
  if (rows < 1 || columns < 1) return PSSDET_BAD_PROBLEM;
  const int64_t in_pixels = int64_t(p.height) * p.width, out_pixels = rows * columns;
  if (in_pixels > kMostPixels / p.batch || out_pixels > kMostPixels / p.batch) return PSSDET_BAD_PROBLEM;
  const int64_t taps = int64_t(p.kernel_h) * p.kernel_w;
  if (taps > kMostChannels / 3 / p.offset_groups || taps > kMostChannels / p.channels ||
      p.out_channels > kMostChannels) {
    return PSSDET_BAD_PROBLEM;
  }
  *out_h = int32_t(rows);
  *out_w = int32_t(columns);
  return PSSDET_OK;
}

pssdet_status prepare(const pssdet_dcnv2_problem& problem, const pssdet_dcnv2_format& format, const void* x,
    const void* offset, const void* mask, const void* weight, const float* bias, void* y,
    Arguments* arguments) {
  int32_t out_h = 0, out_w = 0;
  if (check(problem, &out_h, &out_w) != PSSDET_OK) return PSSDET_BAD_PROBLEM;
  if (!known(format.data_type) || !known(format.offset_type) || !known(format.data_layout) ||
      !known(format.offset_layout)) {
    return PSSDET_BAD_PROBLEM;
  }
  if (!usable({x, y}, alignment_of(format.data_type, format.data_layout)) || !usable(weight, kVector))
    return PSSDET_BAD_PROBLEM;
  // Read value by value, so a part of another tensor may begin at any of its values.
  const int offset_bytes = bytes_of(format.offset_type);
  if (!usable(offset, offset_bytes) || (bias && !usable(bias, sizeof(float)))) return PSSDET_BAD_PROBLEM;
  if (mask && (format.raw_mask || !usable(mask, offset_bytes))) return PSSDET_BAD_PROBLEM;
  const int32_t pixels = out_h * out_w, masks = problem.kernel_h * problem.kernel_w * problem.offset_groups;
  arguments->problem = problem;
  arguments->out_h = out_h;
  arguments->out_w = out_w;
  arguments->x = x;
  arguments->weight = weight;
  arguments->bias = bias;
  arguments->y = y;
  arguments->offset = view_of(
      offset, format.offset_type, format.offset_layout, format.raw_mask ? 3 * masks : 2 * masks, pixels);
  arguments->mask = format.raw_mask ? arguments->offset
                                    : view_of(mask, format.offset_type, format.offset_layout, masks, pixels);
  arguments->first_mask = format.raw_mask ? 2 * masks : 0;
  arguments->raw_mask = format.raw_mask != 0;
  arguments->relu = format.relu != 0;
  arguments->channel_pitch = padded_channels(problem.channels);
  arguments->out_channel_pitch = padded_channels(problem.out_channels);
  return PSSDET_OK;
}

bool is_fused(const pssdet_dcnv2_problem& problem, const pssdet_dcnv2_format& format) {
  // The fused kernel counts eights of values in 32 bits, and its largest number means that there is none.
  constexpr int64_t kMostValues = 8 * int64_t(std::numeric_limits<uint32_t>::max());
  const int64_t taps = int64_t(problem.kernel_h) * problem.kernel_w;
  if (int64_t(problem.batch) * problem.height * problem.width > kMostValues / problem.channels) return false;
  if (problem.out_channels > kMostValues / (taps * problem.channels)) return false;
  return format.data_type == PSSDET_F16 && format.data_layout == PSSDET_NHWC && problem.groups == 1 &&
      problem.offset_groups == 1 && problem.channels % 8 == 0 && problem.out_channels % 8 == 0 &&
      taps <= kMaxFusedTaps && problem.channels <= kMaxFusedChannels;
}

}  // namespace pssdet::dcnv2

extern "C" {

const char* pssdet_dcnv2_version(void) { return "1"; }

pssdet_status pssdet_dcnv2_output_size(const pssdet_dcnv2_problem* problem, int32_t* out_h, int32_t* out_w) {
  if (!problem || !out_h || !out_w) return PSSDET_BAD_PROBLEM;
  return pssdet::dcnv2::check(*problem, out_h, out_w);
}

pssdet_status pssdet_dcnv2_pack_weights(
    const pssdet_dcnv2_problem* problem, pssdet_dtype type, const float* oihw, void* packed) {
  using namespace pssdet::dcnv2;
  int32_t out_h = 0, out_w = 0;
  if (!problem || !oihw || !packed || check(*problem, &out_h, &out_w) != PSSDET_OK) return PSSDET_BAD_PROBLEM;
  const int64_t inputs = problem->channels / problem->groups,
                taps = int64_t(problem->kernel_h) * problem->kernel_w;
  if (type == PSSDET_F32) {
    pack(oihw, problem->out_channels, inputs, taps, static_cast<float*>(packed));
  } else if (type == PSSDET_F16) {
    pack(oihw, problem->out_channels, inputs, taps, static_cast<half*>(packed));
  } else {
    return PSSDET_BAD_PROBLEM;
  }
  return PSSDET_OK;
}

}  // extern "C"
