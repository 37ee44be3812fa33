// The preprocessing kernel, run in the emulator, against plain loops.
#include "checks.h"
#include "preprocess_cases.h"

int main() {
  using namespace pssdet::test;
  for (const PreprocessSetting& setting : kPreprocessSettings) {
    PreprocessCase one(setting);
    CHECK(pssdet_preprocess_run(&one.problem(), one.pixels().data(), one.out().data(), nullptr) == PSSDET_OK);
    CHECK(one.judge("emulator"));
  }
  return summary();
}
