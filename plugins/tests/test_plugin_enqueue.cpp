// What the plugin hands to the kernel: pssdet_dcnv2_run is replaced (-Wl,--wrap) by a function that writes it down. Needs neither a
// GPU nor TensorRT's libraries.
#include <cstdio>

#include "../dcnv2/dcnv2.h"
#include "../tensorrt/deform_conv/creator.h"
#include "plugin_handle.h"

namespace {

using namespace plugin_host;
using nvinfer1::DataType;
using nvinfer1::TensorFormat;

int failures = 0;

void expect(bool truth, const char* what) {
  if (truth) return;
  std::printf("FAILED: %s\n", what);
  ++failures;
}

struct Call {
  pssdet_dcnv2_problem problem;
  pssdet_dcnv2_format format;
  const void *x, *offset, *mask, *weight, *bias;
  void *y, *stream;
  int32_t tile;
};

Call last;
int calls = 0;
pssdet_status answer = PSSDET_OK;

}  // namespace

extern "C" pssdet_status __wrap_pssdet_dcnv2_run(const pssdet_dcnv2_problem* problem, const pssdet_dcnv2_format* format,
    const void* x, const void* offset, const void* mask, const void* weight, const float* bias, void* y, int32_t tile,
    void* stream) {
  last = {*problem, *format, x, offset, mask, weight, bias, y, stream, tile};
  ++calls;
  return answer;
}

namespace {

void* address(int number) { return reinterpret_cast<void*>(intptr_t(number) * 4096); }

Handle make(const Fields& fields) {
  return Handle::create(static_cast<PluginCreator*>(&pssdet::tensorrt::deform_conv_creator()), fields);
}

const int32_t kPads[] = {1, 2, 3, 4}, kStrides[] = {2, 1}, kDilations[] = {1, 2}, kOne = 1;
constexpr auto kInt = nvinfer1::PluginFieldType::kINT32;
constexpr auto kLinear = TensorFormat::kLINEAR;

void everything() {
  Handle plugin = make({{"pads", kPads, kInt, 4}, {"strides", kStrides, kInt, 2}, {"dilations", kDilations, kInt, 2},
      {"has_bias", &kOne, kInt, 1}, {"has_mask", &kOne, kInt, 1}, {"relu", &kOne, kInt, 1}, {"half_offsets", &kOne, kInt, 1}});
  const std::vector<Tensor> tensors = {{DataType::kHALF, TensorFormat::kHWC8, {2, 64, 25, 33}},
      {DataType::kHALF, kLinear, {128, 1, 3, 64}}, {DataType::kHALF, kLinear, {2, 6, 15, 35}}, {DataType::kFLOAT, kLinear, {128}},
      {DataType::kHALF, kLinear, {2, 3, 15, 35}}, {DataType::kHALF, TensorFormat::kHWC8, {2, 128, 15, 35}}};
  const std::vector<const void*> inputs = {address(1), address(2), address(3), address(4), address(5)};
  expect(
      plugin.enqueue(tensors, inputs, address(6), reinterpret_cast<cudaStream_t>(address(7))) == 0 && calls == 1, "one launch");
  expect(last.x == address(1) && last.weight == address(2) && last.offset == address(3) && last.bias == address(4), "inputs");
  expect(last.mask == address(5) && last.y == address(6) && last.stream == address(7), "mask, output and stream too");
  const pssdet_dcnv2_problem& p = last.problem;
  expect(p.batch == 2 && p.channels == 64 && p.height == 25 && p.width == 33 && p.out_channels == 128, "sizes");
  expect(p.kernel_h == 1 && p.kernel_w == 3 && p.groups == 1 && p.offset_groups == 1, "the kernel's");
  expect(p.stride_h == 2 && p.stride_w == 1 && p.dilation_h == 1 && p.dilation_w == 2, "strides and dilations");
  expect(p.pad_top == 1 && p.pad_left == 2 && p.pad_bottom == 3 && p.pad_right == 4, "pads");
  const pssdet_dcnv2_format& f = last.format;
  expect(f.data_type == PSSDET_F16 && f.data_layout == PSSDET_NHWC && f.relu == 1 && f.raw_mask == 0, "the format of x");
  expect(f.offset_type == PSSDET_F16 && f.offset_layout == PSSDET_NCHW, "and of the offsets");
  expect(last.tile == PSSDET_AUTO_TILE, "no tile unless one is chosen");
  for (const pssdet_status status : {PSSDET_BAD_PROBLEM, PSSDET_CUDA_ERROR}) {
    answer = status;
    expect(plugin.enqueue(tensors, inputs, address(6)) != 0, "a failed launch is an error");
  }
  answer = PSSDET_OK;
#if PSSDET_PLUGIN_GENERATION == 3
  const int32_t count = int32_t(plugin.tactics(tensors).size());
  for (const auto& [tactic, tile] :
      std::vector<std::pair<int32_t, int32_t>>{{1, 0}, {count, count - 1}, {0, PSSDET_AUTO_TILE}, {2, 1}}) {
    plugin.choose(tactic);
    expect(plugin.enqueue(tensors, inputs, address(6)) == 0 && last.tile == tile, "a tactic is a tile");
  }
  expect(plugin.clone().enqueue(tensors, inputs, address(6)) == 0 && last.tile == 1, "a clone keeps it");
  plugin.choose(count + 1);
  expect(plugin.enqueue(tensors, inputs, address(6)) == 0 && last.tile == PSSDET_AUTO_TILE,
      "one that this library has not is passed over");
#endif
  calls = 0;
  std::vector<Tensor> wrong = tensors;
  wrong[4].sizes[1] = 6;
  expect(plugin.enqueue(wrong, inputs, address(6)) != 0, "a mask of the wrong size");
  wrong = tensors;
  wrong[4].type = DataType::kFLOAT;
  expect(plugin.enqueue(wrong, inputs, address(6)) != 0, "a mask unlike the offsets");
  wrong = tensors;
  wrong[5].sizes[3] = 34;
  expect(plugin.enqueue(wrong, inputs, address(6)) != 0, "an output too small");
  for (const size_t i : {0, 2, 4, 5}) wrong[i].sizes[0] = 0;
  wrong[5].sizes[3] = 35;
  expect(plugin.enqueue(wrong, inputs, address(6)) == 0, "no images");
  expect(calls == 0, "none of these reached the kernel");
}

void raw() {
  Handle plugin = make({{"raw_mask", &kOne, kInt, 1}});
  const std::vector<Tensor> tensors = {{DataType::kFLOAT, kLinear, {1, 8, 5, 5}}, {DataType::kFLOAT, kLinear, {16, 3, 3, 8}},
      {DataType::kFLOAT, kLinear, {1, 27, 3, 3}}, {DataType::kFLOAT, kLinear, {1, 16, 3, 3}}};
  const std::vector<const void*> inputs = {address(1), address(2), address(3)};
  expect(plugin.enqueue(tensors, inputs, address(4)) == 0, "three inputs");
  expect(last.mask == nullptr && last.bias == nullptr && last.format.raw_mask == 1 && last.format.relu == 0,
      "what is absent is null");
  expect(last.format.data_type == PSSDET_F32 && last.format.offset_type == PSSDET_F32 && last.offset == address(3), "in float");
#if PSSDET_PLUGIN_GENERATION == 3
  plugin.choose(1);
  expect(plugin.enqueue(tensors, inputs, address(4)) == 0 && last.tile == PSSDET_AUTO_TILE, "the general kernel has no tiles");
#endif
}

void plans() {
  auto* creator = static_cast<PluginCreator*>(&pssdet::tensorrt::deform_conv_creator());
  Handle plugin = make({{"pads", kPads, kInt, 4}, {"raw_mask", &kOne, kInt, 1}});
  expect(plugin.restored(creator) && plugin.restored(creator).text() == plugin.text(), "a plan gives back the plugin");
#if PSSDET_PLUGIN_GENERATION == 2
  std::vector<unsigned char> bytes = plugin.bytes();
  bytes.pop_back();
  expect(!Handle::restored(creator, bytes) && !Handle::restored(creator, {}), "a plan cut short gives none");
#endif
}

}  // namespace

int main() {
  everything();
  raw();
  plans();
  std::printf(failures ? "%d failures\n" : "all passed\n", failures);
  return failures ? 1 : 0;
}
