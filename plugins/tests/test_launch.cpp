// What the library refuses, or has nothing to do for, before it asks anything of a GPU; so this needs none.
#include <climits>
#include <initializer_list>

#include "../dcnv2/dcnv2.h"
#include "../detection/detection.h"
#include "../preprocess/preprocess.h"
#include "checks.h"

namespace {

constexpr pssdet_dcnv2_problem kPlain = {1, 16, 8, 8, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
constexpr pssdet_dcnv2_format kFused = {PSSDET_F16, PSSDET_NHWC, PSSDET_F32, PSSDET_NCHW, 0, 0};
constexpr pssdet_dcnv2_format kDirect = {PSSDET_F32, PSSDET_NCHW, PSSDET_F32, PSSDET_NCHW, 0, 0};

// Never read: what is called here must not get so far.
alignas(16) float memory[4];

pssdet_status run(const pssdet_dcnv2_problem& problem, const pssdet_dcnv2_format& format, int32_t tile) {
  return pssdet_dcnv2_run(&problem, &format, memory, memory, memory, memory, nullptr, memory, tile, nullptr);
}

void tiles() {
  const int32_t count = pssdet_dcnv2_tile_count(&kPlain, &kFused);
  CHECK(count > 0);
  CHECK(pssdet_dcnv2_tile_count(&kPlain, &kDirect) == 0);
  CHECK(pssdet_dcnv2_tile_count(nullptr, &kFused) == 0 && pssdet_dcnv2_tile_count(&kPlain, nullptr) == 0);
  CHECK(run(kPlain, kFused, count) == PSSDET_BAD_PROBLEM);
  CHECK(run(kPlain, kFused, PSSDET_AUTO_TILE - 1) == PSSDET_BAD_PROBLEM);
  CHECK(run(kPlain, kDirect, 0) == PSSDET_BAD_PROBLEM);
}

void pointers() {
  CHECK(pssdet_dcnv2_run(nullptr, &kFused, memory, memory, memory, memory, nullptr, memory, 0, nullptr) ==
      PSSDET_BAD_PROBLEM);
  CHECK(pssdet_dcnv2_run(&kPlain, nullptr, memory, memory, memory, memory, nullptr, memory, 0, nullptr) ==
      PSSDET_BAD_PROBLEM);
  CHECK(pssdet_dcnv2_run(&kPlain, &kFused, memory + 1, memory, memory, memory, nullptr, memory, 0, nullptr) ==
      PSSDET_BAD_PROBLEM);
}

// More blocks than a grid has.
void blocks() {
  pssdet_dcnv2_problem problem = {
      1 << 9, 8, 1 << 10, (1 << 10) - 1, 1 << 15, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1};
  const int32_t smallest = pssdet_dcnv2_tile_count(&kPlain, &kFused) - 1;
  CHECK(run(problem, kFused, smallest) == PSSDET_BAD_PROBLEM);
  CHECK(run(problem, kDirect, PSSDET_AUTO_TILE) == PSSDET_BAD_PROBLEM);
  problem.out_channels = 1 << 29;
  for (int32_t tile = PSSDET_AUTO_TILE; tile <= smallest; ++tile)
    CHECK(run(problem, kFused, tile) == PSSDET_BAD_PROBLEM);
}

void roi_align() {
  pssdet_roi_align_problem problem = {1, 0, 8, {1, {4}, {4}, {4}}, 2, 4, 224.0f, 0.0f, 7, 2, 1};
  const void* maps[] = {memory};
  const auto run = [&](pssdet_dtype type, pssdet_layout layout, const float* rois) {
    return pssdet_roi_align_run(&problem, type, layout, maps, rois, memory, nullptr);
  };
  CHECK(run(PSSDET_F32, PSSDET_NCHW, nullptr) == PSSDET_OK);  // no regions, nothing to launch
  CHECK(run(PSSDET_F32, PSSDET_NHWC, memory) == PSSDET_BAD_PROBLEM);
  problem.regions = 1;
  CHECK(run(PSSDET_F16, PSSDET_NHWC, nullptr) == PSSDET_BAD_PROBLEM);
  CHECK(run(PSSDET_F16, PSSDET_NHWC, reinterpret_cast<float*>(reinterpret_cast<char*>(memory) + 2)) ==
      PSSDET_BAD_PROBLEM);
  CHECK(pssdet_roi_align_run(nullptr, PSSDET_F16, PSSDET_NHWC, maps, memory, memory, nullptr) ==
      PSSDET_BAD_PROBLEM);
}

void preprocess() {
  pssdet_preprocess_problem problem = {4, 4, 2, 2, 32, 32, 2.0, 2.0, PSSDET_LINEAR, 0, {0, 0, 0}, {1, 1, 1}};
  const uint8_t pixels[4 * 4 * 3] = {};
  CHECK(pssdet_preprocess_run(nullptr, pixels, memory, nullptr) == PSSDET_BAD_PROBLEM);
  CHECK(pssdet_preprocess_run(&problem, nullptr, memory, nullptr) == PSSDET_BAD_PROBLEM);
  problem.out_width = 33;
  CHECK(pssdet_preprocess_run(&problem, pixels, memory, nullptr) == PSSDET_BAD_PROBLEM);
}

void selection() {
  const void* const maps[] = {memory};
  const pssdet_layout layouts[] = {PSSDET_NCHW, PSSDET_NCHW};
  int32_t count[4];
  CHECK(pssdet_proposals_run(nullptr, PSSDET_F32, layouts, maps, maps, memory, memory, memory, count, memory,
            nullptr) == PSSDET_BAD_PROBLEM);
  const pssdet_multiclass_nms_problem none = {};
  for (const pssdet_multiclass_nms_problem* problem :
      {static_cast<const pssdet_multiclass_nms_problem*>(nullptr), &none}) {
    CHECK(pssdet_multiclass_nms_run(problem, memory, memory, count, memory, memory, count, count, memory,
              nullptr) == PSSDET_BAD_PROBLEM);
  }
}

}  // namespace

int main() {
  tiles();
  pointers();
  blocks();
  roi_align();
  preprocess();
  selection();
  return pssdet::test::summary();
}
