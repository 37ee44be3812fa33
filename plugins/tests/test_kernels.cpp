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

template <typename Kernel, typename Arguments>
bool run(Comparison& comparison, const Arguments& arguments, const std::string& name, bool reversed) {
  pssdet::emulator::options().reversed = reversed;
  return pssdet::launch<Kernel>(arguments, nullptr) == PSSDET_OK &&
      comparison.judge(name + (reversed ? " reversed" : ""));
}

// In both forms, if the tile divides the problem.
template <typename Mma>
bool run_fused(Comparison& comparison, int number, const std::string& mma, bool reversed) {
  return with_tile(number, [&](auto tile) {
    using Chosen = decltype(tile);
    const std::string size = std::to_string(Chosen::kRows) + "x" + std::to_string(Chosen::kColumns);
    Arguments arguments = arguments_of(comparison);
    bool good = run<Fused<Chosen, false, Mma>>(comparison, arguments, mma + " " + size, reversed);
    if (!Chosen::divides(arguments)) return good;
    arguments = arguments_of(comparison);
    good &= run<Fused<Chosen, true, Mma>>(comparison, arguments, mma + " divided " + size, reversed);
    return good;
  });
}

template <typename T, bool ChannelsLast>
bool run_direct(Comparison& comparison) {
  const Arguments arguments = arguments_of(comparison);
  const DirectArguments all = {arguments, DirectShare::of(arguments.problem)};
  return run<Direct<T, ChannelsLast>>(comparison, all, "direct", false);
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
