#include "emulated.h"

#include "resize.cuh"

namespace pssdet::preprocess {
namespace {

template <bool Cubic, bool NormaliseFirst>
void emulate(const Arguments& arguments, uint32_t blocks) {
  emulator::launch(blocks, kThreads, sizeof(Shared),
      [&](unsigned char* memory) { Resize<Cubic, NormaliseFirst>(arguments, *reinterpret_cast<Shared*>(memory)).run(); });
}

}  // namespace
}  // namespace pssdet::preprocess

extern "C" pssdet_status pssdet_preprocess_emulated(
    const pssdet_preprocess_problem* problem, const uint8_t* pixels, float* out, void* /*stream*/) {
  using namespace pssdet::preprocess;
  if (!problem) return PSSDET_BAD_PROBLEM;
  Arguments arguments;
  uint32_t blocks = 0;
  const pssdet_status status = prepare(*problem, pixels, out, &arguments, &blocks);
  if (status != PSSDET_OK) return status;
  if (problem->interpolation == PSSDET_CUBIC) {
    problem->normalise_first ? emulate<true, true>(arguments, blocks) : emulate<true, false>(arguments, blocks);
  } else {
    problem->normalise_first ? emulate<false, true>(arguments, blocks) : emulate<false, false>(arguments, blocks);
  }
  return PSSDET_OK;
}
