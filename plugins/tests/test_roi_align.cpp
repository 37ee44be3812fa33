// The RoIAlign kernels, run in the emulator, against a plain loop in float64; and what the C interface refuses.
#include <cmath>
#include <limits>

#include "emulator/emulator.h"
#include "checks.h"
#include "roi_align_cases.h"

namespace {

using namespace pssdet::test;

bool run_in_emulator(RoiCase& one, bool reversed) {
  pssdet::emulator::options().reversed = reversed;
  const pssdet_status status = pssdet_roi_align_run(&one.problem(), one.type(), one.layout(), one.maps().data(),
      one.rois().data(), one.features().data(), nullptr);
  return status == PSSDET_OK && one.judge(reversed ? "reversed" : "");
}

void cases() {
  for (const RoiSetting& setting : kRoiSettings) {
    RoiCase one(setting);
    CHECK(run_in_emulator(one, false));
    CHECK(run_in_emulator(one, true));
  }
}

pssdet_status check_of(const pssdet_roi_align_problem& problem) { return pssdet_roi_align_check(&problem); }

template <typename Value>
void refuse(Value pssdet_roi_align_problem::* field, Value value) {
  pssdet_roi_align_problem problem = kRoiProblem;
  problem.*field = value;
  CHECK(check_of(problem) == PSSDET_BAD_PROBLEM);
}

void sizes() {
  using Problem = pssdet_roi_align_problem;
  CHECK(check_of(kRoiProblem) == PSSDET_OK);
  CHECK(pssdet_roi_align_check(nullptr) == PSSDET_BAD_PROBLEM);
  refuse(&Problem::batch, -1);
  refuse(&Problem::regions, -1);
  refuse(&Problem::regions, std::numeric_limits<int32_t>::max());
  refuse(&Problem::channels, 0);
  refuse(&Problem::channels, std::numeric_limits<int32_t>::max());
  refuse(&Problem::output_size, 0);
  refuse(&Problem::output_size, PSSDET_MAX_OUTPUT_SIZE + 1);
  refuse(&Problem::sampling_ratio, -1);
  refuse(&Problem::sampling_ratio, PSSDET_MAX_SAMPLING_RATIO + 1);
  refuse(&Problem::min_level, 1000);
  for (const float bad : {-1.0f, std::nanf(""), INFINITY}) refuse(&Problem::pixel_offset, bad);
  for (const float bad : {0.0f, std::nanf(""), INFINITY}) refuse(&Problem::canonical_size, bad);
}

void pyramids() {
  const auto refused = [](int32_t levels, int32_t height, int32_t width, int32_t stride) {
    pssdet_roi_align_problem problem = kRoiProblem;
    problem.pyramid = {levels, {height}, {width}, {stride}};
    return check_of(problem) == PSSDET_BAD_PROBLEM;
  };
  CHECK(!refused(1, 3, 4, 4));
  CHECK(refused(0, 3, 4, 4) && refused(PSSDET_MAX_LEVELS + 1, 3, 4, 4) && refused(2, 3, 4, 4));
  CHECK(refused(1, 0, 4, 4) && refused(1, 3, 0, 4) && refused(1, 3, 4, 0) && refused(1, 1 << 14, 1 << 14, 4));
}

pssdet_status run(pssdet_roi_align_problem problem, pssdet_dtype type, pssdet_layout layout, const void* map,
    const float* rois, void* features) {
  problem.pyramid.levels = 1;
  return pssdet_roi_align_run(&problem, type, layout, &map, rois, features, nullptr);
}

void formats() {
  alignas(16) static float memory[8];
  constexpr auto refused = PSSDET_BAD_PROBLEM;
  CHECK(run(kRoiProblem, PSSDET_F32, PSSDET_NHWC, memory, memory, memory) == refused);
  CHECK(run(kRoiProblem, pssdet_dtype(2), PSSDET_NCHW, memory, memory, memory) == refused);
  CHECK(run(kRoiProblem, PSSDET_F16, pssdet_layout(2), memory, memory, memory) == refused);
  CHECK(run(kRoiProblem, PSSDET_F32, PSSDET_NCHW, nullptr, memory, memory) == refused);
  CHECK(run(kRoiProblem, PSSDET_F16, PSSDET_NHWC, memory + 1, memory, memory) == refused);
  unsigned char* const bytes = reinterpret_cast<unsigned char*>(memory);
  CHECK(run(kRoiProblem, PSSDET_F32, PSSDET_NCHW, bytes + 2, memory, memory) == refused);
  CHECK(run(kRoiProblem, PSSDET_F32, PSSDET_NCHW, memory, memory, bytes + 2) == refused);
  CHECK(run(kRoiProblem, PSSDET_F16, PSSDET_NCHW, memory, memory, bytes + 1) == refused);
  CHECK(run(kRoiProblem, PSSDET_F32, PSSDET_NCHW, memory, nullptr, memory) == refused);
  CHECK(run(kRoiProblem, PSSDET_F32, PSSDET_NCHW, memory, memory, nullptr) == refused);
}

void nothing() {
  pssdet_roi_align_problem problem = kRoiProblem;
  problem.regions = 0;
  CHECK(run(problem, PSSDET_F32, PSSDET_NCHW, nullptr, nullptr, nullptr) == PSSDET_OK);
  problem = kRoiProblem;
  problem.batch = 0;
  CHECK(run(problem, PSSDET_F16, PSSDET_NHWC, nullptr, nullptr, nullptr) == PSSDET_OK);
}

}  // namespace

int main() {
  cases();
  sizes();
  pyramids();
  formats();
  nothing();
  return summary();
}
