#include "emulated_roi_align.h"

#include "roi_align.cuh"

namespace pssdet::roi_align {

pssdet_status emulate_roi_align(const pssdet_roi_align_problem& problem, pssdet_dtype type, pssdet_layout layout,
    const void* const* maps, const float* rois, void* features, bool reversed) {
  RoiAlignArguments arguments;
  uint32_t blocks = 0;
  const pssdet_status status = prepare(problem, type, layout, maps, rois, features, &arguments, &blocks);
  if (status != PSSDET_OK || blocks == 0) return status;
  const auto run = [&](unsigned char* memory) {
    RoiAlign block(arguments, *reinterpret_cast<RoiShared*>(memory));
    block.locate();
    if (layout == PSSDET_NHWC) {
      block.run_channels_last(reinterpret_cast<RoiSharedLast*>(memory)->results);
    } else if (type == PSSDET_F16) {
      block.run_channels_first<half>();
    } else {
      block.run_channels_first<float>();
    }
  };
  emulator::launch(blocks, kRoiThreads, layout == PSSDET_NHWC ? sizeof(RoiSharedLast) : sizeof(RoiShared), run, reversed);
  return PSSDET_OK;
}

}  // namespace pssdet::roi_align

extern "C" pssdet_status pssdet_roi_align_emulated(const pssdet_roi_align_problem* problem, pssdet_dtype type,
    pssdet_layout layout, const void* const* maps, const float* rois, void* features, void* /*stream*/) {
  if (!problem) return PSSDET_BAD_PROBLEM;
  return pssdet::roi_align::emulate_roi_align(*problem, type, layout, maps, rois, features, false);
}
