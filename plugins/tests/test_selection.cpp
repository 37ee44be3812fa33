// The kernels of proposals and of class-wise NMS, run in the emulator, against a plain program.
#include <stdexcept>

#include "../detection/emulated_selection.h"
#include "../detection/selection_problem.h"
#include "selection_cases.h"

namespace {

using namespace pssdet::test;
using pssdet::detection::emulate;

// The same results are wanted with any number of warps, in any order.
struct Run {
  const char* how;
  unsigned threads;
  bool reversed;
};
constexpr Run kRuns[] = {
    {"as on a GPU", 0, false}, {"as on a GPU, reversed", 0, true}, {"one warp", 32, false}, {"three warps, reversed", 96, true}};

template <typename Arguments, typename... Given>
Arguments prepared(const char* name, const Given&... given) {
  Arguments arguments;
  if (pssdet::detection::prepare(given..., &arguments) != PSSDET_OK) throw std::runtime_error(std::string("refused: ") + name);
  return arguments;
}

std::vector<const void*> starts(const std::vector<Bytes>& maps) {
  std::vector<const void*> result;
  for (const Bytes& map : maps) result.push_back(map.data());
  return result;
}

bool run(ProposalsCase& one, const Run& how) {
  const auto arguments = prepared<pssdet::detection::ProposalsArguments>(one.name, &one.problem, one.type, one.layouts.data(),
      starts(one.scores).data(), starts(one.deltas).data(), one.image_size.data(), one.proposals.data(),
      one.proposal_scores.data(), one.count.data(), one.workspace.data());
  emulate(arguments, how.threads, how.reversed);
  return one.judge(how.how, 0);
}

bool run(NmsCase& one, const Run& how) {
  const auto arguments = prepared<pssdet::detection::NmsArguments>(one.name, &one.problem, one.boxes.data(), one.scores.data(),
      one.region_count.data(), one.best_boxes.data(), one.best_scores.data(), one.labels.data(), one.count.data(),
      one.workspace.data());
  emulate(arguments, how.threads, how.reversed);
  return one.judge(how.how);
}

template <typename Case, typename Settings>
int failures(const Settings& settings) {
  int failed = 0;
  for (const auto& setting : settings) {
    Case one(setting);
    for (const Run& how : kRuns) failed += !run(one, how);
  }
  return failed;
}

}  // namespace

int main() {
  const int failed = failures<ProposalsCase>(kProposals) + failures<NmsCase>(kNms);
  std::printf("%d failed\n", failed);
  return failed != 0;
}
