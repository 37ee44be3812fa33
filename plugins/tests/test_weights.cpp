// The order of packed weights, and what packing refuses.
#include <vector>

#include "../dcnv2/arguments.h"
#include "checks.h"

namespace {

constexpr pssdet_dcnv2_problem kProblem = {1, 12, 5, 6, 8, 2, 3, 1, 1, 1, 1, 0, 0, 0, 0, 4, 1};

void order() {
  const int outputs = 8, inputs = 3, taps = 6;
  std::vector<float> oihw(outputs * inputs * taps), packed(oihw.size());
  for (size_t i = 0; i < oihw.size(); ++i) oihw[i] = float(i) + 0.25f;
  std::vector<half> halves(oihw.size());
  CHECK(pssdet_dcnv2_pack_weights(&kProblem, PSSDET_F32, oihw.data(), packed.data()) == PSSDET_OK);
  CHECK(pssdet_dcnv2_pack_weights(&kProblem, PSSDET_F16, oihw.data(), halves.data()) == PSSDET_OK);
  for (int o = 0; o < outputs; ++o) {
    for (int i = 0; i < inputs; ++i) {
      for (int tap = 0; tap < taps; ++tap) {
        const float value = oihw[(o * inputs + i) * taps + tap];
        const int at = (o * taps + tap) * inputs + i;
        CHECK(packed[at] == value);
        CHECK(halves[at].bits == __float2half_rn(value).bits);
      }
    }
  }
}

void refusals() {
  float values[8 * 3 * 6] = {}, packed[8 * 3 * 6];
  pssdet_dcnv2_problem bad = kProblem;
  bad.groups = 5;
  CHECK(pssdet_dcnv2_pack_weights(&bad, PSSDET_F32, values, packed) == PSSDET_BAD_PROBLEM);
  CHECK(pssdet_dcnv2_pack_weights(nullptr, PSSDET_F32, values, packed) == PSSDET_BAD_PROBLEM);
  CHECK(pssdet_dcnv2_pack_weights(&kProblem, PSSDET_F32, nullptr, packed) == PSSDET_BAD_PROBLEM);
  CHECK(pssdet_dcnv2_pack_weights(&kProblem, PSSDET_F32, values, nullptr) == PSSDET_BAD_PROBLEM);
  CHECK(pssdet_dcnv2_pack_weights(&kProblem, PSSDET_ANY_DTYPE, values, packed) == PSSDET_BAD_PROBLEM);
}

}  // namespace

int main() {
  order();
  refusals();
  return pssdet::test::summary();
}
