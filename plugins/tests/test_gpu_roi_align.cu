// The RoIAlign kernels on a GPU, against a plain loop in float64.
#include "device_memory.h"
#include "roi_align_cases.h"

namespace {

using namespace pssdet::test;

bool run(const RoiSetting& setting) {
  RoiCase one(setting);
  std::vector<DeviceMemory> maps;
  std::vector<const void*> pointers;
  for (Tensor& map : one.map_tensors()) {
    maps.push_back(on_device(map.bytes()));
    pointers.push_back(maps.back().get());
  }
  const DeviceMemory rois = on_device(one.rois()), features = on_device(one.features());
  const pssdet_status status = pssdet_roi_align_run(&one.problem(), one.type(), one.layout(), pointers.data(),
      static_cast<const float*>(rois.get()), features.get(), nullptr);
  if (status != PSSDET_OK) {
    std::printf("FAILED %-40s status %d\n", setting.name, int(status));
    return false;
  }
  expect(cudaDeviceSynchronize(), setting.name);
  std::vector<unsigned char>& bytes = one.features();
  expect(cudaMemcpy(bytes.data(), features.get(), bytes.size(), cudaMemcpyDeviceToHost), "copy from the GPU");
  return one.judge("GPU");
}

int failures() {
  int failed = 0;
  for (const RoiSetting& setting : kRoiSettings) failed += !run(setting);
  return failed;
}

}  // namespace

int main() { return run_on_gpu(failures); }
