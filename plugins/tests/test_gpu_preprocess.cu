// The preprocessing kernel on a GPU, against plain loops.
#include "device_memory.h"
#include "preprocess_cases.h"

namespace {

using namespace pssdet::test;

bool run(const PreprocessSetting& setting) {
  PreprocessCase one(setting);
  std::vector<float>& out = one.out();
  const DeviceMemory pixels = on_device(one.pixels()), result = on_device(out);
  const pssdet_status status = pssdet_preprocess_run(
      &one.problem(), static_cast<const uint8_t*>(pixels.get()), static_cast<float*>(result.get()), nullptr);
  if (status != PSSDET_OK) {
    std::printf("FAILED %-30s status %d\n", setting.name, int(status));
    return false;
  }
  expect(cudaDeviceSynchronize(), setting.name);
  expect(cudaMemcpy(out.data(), result.get(), out.size() * sizeof(float), cudaMemcpyDeviceToHost),
      "copy from the GPU");
  return one.judge("GPU");
}

int failures() {
  int failed = 0;
  for (const PreprocessSetting& setting : kPreprocessSettings) failed += !run(setting);
  return failed;
}

}  // namespace

int main() { return run_on_gpu(failures); }
