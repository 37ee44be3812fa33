// The kernels themselves, run in the emulator, against the reference in float64.
#include "../dcnv2/direct_kernel.cuh"
#include "../dcnv2/fused_kernel.cuh"
#include "comparison.h"

namespace {

using namespace pssdet::dcnv2;
using namespace pssdet::test;

Arguments arguments_of(Comparison& comparison) {
  const auto data = [&](int number) -> void* {
    return comparison.has(number) ? comparison.tensor(number).bytes().data() : nullptr;
  };
  comparison.tensor(Comparison::kY).clear();
  Arguments arguments;
  const pssdet_status status = prepare(comparison.what().problem, comparison.what().format,
      data(Comparison::kX), data(Comparison::kOffset), data(Comparison::kMask), data(Comparison::kWeight),
      static_cast<float*>(data(Comparison::kBias)), data(Comparison::kY), &arguments);
  if (status != PSSDET_OK) throw std::runtime_error(std::string("prepare refused ") + comparison.what().name);
  return arguments;
}

template <typename Mma>
bool run_fused(Comparison& comparison, int number, const std::string& mma, bool reversed) {
  pssdet::emulator::options().reversed = reversed;
  const Arguments arguments = arguments_of(comparison);
  return with_tile(number, [&](auto tile) {
    using Chosen = decltype(tile);
    if (pssdet::launch<Fused<Chosen, Mma>>(arguments, nullptr) != PSSDET_OK) return false;
    const std::string size = std::to_string(Chosen::kRows) + "x" + std::to_string(Chosen::kColumns);
    return comparison.judge(mma + " " + size + (reversed ? " reversed" : ""));
  });
}

template <typename T, bool ChannelsLast>
bool run_direct(Comparison& comparison) {
  pssdet::emulator::options().reversed = false;
  const Arguments arguments = arguments_of(comparison);
  return pssdet::launch<Direct<T, ChannelsLast>>(arguments, nullptr) == PSSDET_OK && comparison.judge("direct");
}

template <typename T>
bool run_direct(Comparison& comparison) {
  const bool channels_last = comparison.what().format.data_layout == PSSDET_NHWC;
  return channels_last ? run_direct<T, true>(comparison) : run_direct<T, false>(comparison);
}

int failures_of(const Case& which) {
  Comparison comparison(which);
  int failed = 0;
  if (is_fused(which.problem, which.format)) {
    for (int tile = 0; tile < kTiles; ++tile) {
      failed += !run_fused<MmaSync>(comparison, tile, "mma.sync", false);
      failed += !run_fused<Wmma>(comparison, tile, "wmma", false);
    }
    failed += !run_fused<MmaSync>(comparison, kTiles - 1, "mma.sync", true);
    failed += !run_fused<Wmma>(comparison, kTiles - 1, "wmma", true);
  }
  return failed +
      !(which.format.data_type == PSSDET_F16 ? run_direct<half>(comparison) : run_direct<float>(comparison));
}

}  // namespace

int main() {
  int failed = 0;
  for (const Case& which : kCases) failed += failures_of(which);
  std::printf("%d failed\n", failed);
  return failed != 0;
}
