// A launch in the emulator: what device/launch.h does on a GPU.
#pragma once

#include "../../device/device.h"
#include "../../device/occupancy.h"

namespace pssdet {

// A small one; there is always work for all of it.
inline Device current_device() { return {70, 1, 96 * 1024}; }

template <typename Kernel>
pssdet_status run_grid(const typename Kernel::Arguments& arguments, unsigned blocks, void* /*stream*/) {
  const emulator::Options& options = emulator::options();
  const int threads = std::clamp(options.threads, Kernel::kFewestThreads, Kernel::kThreads);
  if constexpr (Kernel::kDynamicShared) {
    const auto run = [&](unsigned char* shared) { Kernel(arguments, shared).run(); };
    emulator::launch(blocks, unsigned(threads), size_t(Kernel::shared_bytes(arguments)), run, options.reversed);
  } else {
    using Shared = typename Kernel::Shared;
    const auto run = [&](unsigned char* shared) {
      Kernel(arguments, *reinterpret_cast<Shared*>(shared)).run();
    };
    emulator::launch(blocks, unsigned(threads), sizeof(Shared), run, options.reversed);
  }
  return PSSDET_OK;
}

}  // namespace pssdet
