// The kernels of proposals and of class-wise NMS, run in the emulator, against a plain program.
#include "emulator/emulator.h"
#include "selection_cases.h"

namespace {

using namespace pssdet::test;

// The same results are wanted with any number of warps, in any order.
struct Run {
  const char* how;
  int threads;
  bool reversed;
};
constexpr Run kRuns[] = {{"as on a GPU", 1024, false}, {"as on a GPU, reversed", 1024, true},
    {"one warp", 32, false}, {"three warps, reversed", 96, true}};

std::vector<const void*> starts(const std::vector<Bytes>& maps) {
  std::vector<const void*> result;
  for (const Bytes& map : maps) result.push_back(map.data());
  return result;
}

bool run(ProposalsCase& one, const Run& how) {
  const pssdet_status status = pssdet_proposals_run(&one.problem, one.type, one.layouts.data(),
      starts(one.scores).data(), starts(one.deltas).data(), one.image_size.data(), one.proposals.data(),
      one.proposal_scores.data(), one.count.data(), one.workspace.data(), nullptr);
  return status == PSSDET_OK && one.judge(how.how, 0);
}

bool run(NmsCase& one, const Run& how) {
  const pssdet_status status = pssdet_multiclass_nms_run(&one.problem, one.boxes.data(), one.scores.data(),
      one.region_count.data(), one.best_boxes.data(), one.best_scores.data(), one.labels.data(),
      one.count.data(), one.workspace.data(), nullptr);
  return status == PSSDET_OK && one.judge(how.how);
}

template <typename Case, typename Settings>
int failures(const Settings& settings) {
  int failed = 0;
  for (const auto& setting : settings) {
    Case one(setting);
    for (const Run& how : kRuns) {
      pssdet::emulator::options() = {how.threads, how.reversed};
      failed += !run(one, how);
    }
  }
  return failed;
}

}  // namespace

int main() {
  const int failed = failures<ProposalsCase>(kProposals) + failures<NmsCase>(kNms);
  std::printf("%d failed\n", failed);
  return failed != 0;
}
