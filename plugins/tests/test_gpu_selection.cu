// The kernels of proposals and of class-wise NMS on a GPU, against a plain program.
#include "device_memory.h"
#include "selection_cases.h"

namespace {

using namespace pssdet::test;

// exp() may differ in its last places: of coordinates up to 1344.
constexpr float kNext = 1e-3f;

class OnDevice {
 public:
  template <typename Value>
  Value* copy(const std::vector<Value>& values) {
    memory_.push_back(on_device(values));
    return static_cast<Value*>(memory_.back().get());
  }

 private:
  std::vector<DeviceMemory> memory_;
};

template <typename Value>
void fetch(std::vector<Value>& to, const Value* from) {
  expect(cudaMemcpy(to.data(), from, to.size() * sizeof(Value), cudaMemcpyDeviceToHost), "copy from the GPU");
}

bool launched(const char* name, pssdet_status status) {
  if (status != PSSDET_OK) std::printf("FAILED %-40s status %d\n", name, int(status));
  expect(cudaDeviceSynchronize(), name);
  return status == PSSDET_OK;
}

bool run(const ProposalsSetting& setting) {
  ProposalsCase one(setting);
  OnDevice device;
  std::vector<const void*> scores, deltas;
  for (const Bytes& map : one.scores) scores.push_back(device.copy(map));
  for (const Bytes& map : one.deltas) deltas.push_back(device.copy(map));
  const float* image_size = device.copy(one.image_size);
  float *proposals = device.copy(one.proposals), *proposal_scores = device.copy(one.proposal_scores);
  int32_t* count = device.copy(one.count);
  unsigned char* workspace = device.copy(one.workspace);
  if (!launched(one.name,
          pssdet_proposals_run(&one.problem, one.type, one.layouts.data(), scores.data(), deltas.data(),
              image_size, proposals, proposal_scores, count, workspace, nullptr))) {
    return false;
  }
  fetch(one.proposals, proposals);
  fetch(one.proposal_scores, proposal_scores);
  fetch(one.count, count);
  fetch(one.workspace, workspace);
  return one.judge("GPU", kNext);
}

bool run(const NmsSetting& setting) {
  NmsCase one(setting);
  OnDevice device;
  const float *boxes = device.copy(one.boxes), *scores = device.copy(one.scores);
  const int32_t* region_count = device.copy(one.region_count);
  float *best_boxes = device.copy(one.best_boxes), *best_scores = device.copy(one.best_scores);
  int32_t *labels = device.copy(one.labels), *count = device.copy(one.count);
  unsigned char* workspace = device.copy(one.workspace);
  if (!launched(one.name,
          pssdet_multiclass_nms_run(&one.problem, boxes, scores, region_count, best_boxes, best_scores, labels,
              count, workspace, nullptr))) {
    return false;
  }
  fetch(one.best_boxes, best_boxes);
  fetch(one.best_scores, best_scores);
  fetch(one.labels, labels);
  fetch(one.count, count);
  fetch(one.workspace, workspace);
  return one.judge("GPU");
}

int failures() {
  int failed = 0;
  for (const ProposalsSetting& setting : kProposals) failed += !run(setting);
  for (const ProposalsSetting& setting : kLargeProposals) failed += !run(setting);
  for (const NmsSetting& setting : kNms) failed += !run(setting);
  for (const NmsSetting& setting : kLargeNms) failed += !run(setting);
  return failed;
}

}  // namespace

int main() { return run_on_gpu(failures); }
