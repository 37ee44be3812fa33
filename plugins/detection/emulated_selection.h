// The kernels of proposals and of class-wise NMS on a CPU, in the emulator: for tests.
#pragma once

#include "multiclass_nms.cuh"
#include "proposals.cuh"

namespace pssdet::detection {

// threads: of each block, whole warps; 0: as many as on a GPU. reversed: the order in which they run.
template <typename Step, typename Arguments>
void emulate(const Arguments& arguments, const Grid& grid, unsigned threads, bool reversed) {
  emulator::launch(
      grid.blocks, threads ? threads : grid.threads, size_t(grid.shared_bytes),
      [&](unsigned char* shared) { Step(arguments, shared).run(); }, reversed);
}

inline void emulate(const ProposalsArguments& arguments, unsigned threads, bool reversed) {
  emulate<BestOfChunk>(arguments, chunk_grid(arguments), threads, reversed);
  emulate<ProposalsOfLevel>(arguments, level_grid(arguments), threads, reversed);
  emulate<ProposalsOfImage>(arguments, joint_grid(arguments.problem.batch), threads, reversed);
}

inline void emulate(const NmsArguments& arguments, unsigned threads, bool reversed) {
  emulate<BestOfClass>(arguments, class_grid(arguments), threads, reversed);
  emulate<DetectionsOfImage>(arguments, joint_grid(arguments.problem.batch), threads, reversed);
}

}  // namespace pssdet::detection
