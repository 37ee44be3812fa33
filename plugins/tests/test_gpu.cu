// The library on a GPU, against the reference in float64: every case, every tile. Exit code 77 without a GPU.
#include "comparison.h"
#include "device_memory.h"

namespace {

using namespace pssdet::test;

class GpuComparison {
 public:
  explicit GpuComparison(const Case& which) : comparison_(which) {
    for (int number = 0; number < Comparison::kTensors; ++number) {
      if (comparison_.has(number)) memory_[number] = on_device(comparison_.tensor(number).bytes());
    }
  }

  int failures() {
    const Case& which = comparison_.what();
    int failed = !run(PSSDET_AUTO_TILE);
    for (int tile = 0; tile < pssdet_dcnv2_tile_count(&which.problem, &which.format); ++tile)
      failed += !run(tile);
    return failed;
  }

 private:
  bool run(int tile) {
    const Case& which = comparison_.what();
    const std::string name = tile == PSSDET_AUTO_TILE ? "automatic" : "tile " + std::to_string(tile);
    std::vector<unsigned char>& y =
        (comparison_.tensor(Comparison::kY).clear(), comparison_.tensor(Comparison::kY).bytes());
    expect(cudaMemcpy(pointer(Comparison::kY), y.data(), y.size(), cudaMemcpyHostToDevice), "copy to the GPU");
    const pssdet_status status = pssdet_dcnv2_run(&which.problem, &which.format, pointer(Comparison::kX),
        pointer(Comparison::kOffset), pointer(Comparison::kMask), pointer(Comparison::kWeight),
        static_cast<const float*>(pointer(Comparison::kBias)), pointer(Comparison::kY), tile, nullptr);
    if (status != PSSDET_OK) {
      std::printf("FAILED %-40s %-34s status %d\n", which.name, name.c_str(), int(status));
      return false;
    }
    expect(cudaDeviceSynchronize(), which.name);
    expect(
        cudaMemcpy(y.data(), pointer(Comparison::kY), y.size(), cudaMemcpyDeviceToHost), "copy from the GPU");
    return comparison_.judge(name);
  }

  void* pointer(int number) const { return memory_[number].get(); }

  Comparison comparison_;
  DeviceMemory memory_[Comparison::kTensors];
};

int failures() {
  int failed = 0;
  for (const Case& which : kCases) failed += GpuComparison(which).failures();
  for (const Case& which : kLargeCases) failed += GpuComparison(which).failures();
  return failed;
}

}  // namespace

int main() { return run_on_gpu(failures); }
