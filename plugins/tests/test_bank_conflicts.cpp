// Shared memory has 32 banks of four bytes, and a quarter of a warp reads or writes 16 bytes of each lane at
// once: one pass if all lie on different banks. Counts the passes of each tile's stores and loads; prints them
// for benchmarks/results/kernel_estimates.md.
#include <algorithm>
#include <array>
#include <cstdio>
#include <set>

#include "../dcnv2/tile.cuh"
#include "checks.h"

namespace {

using namespace pssdet::dcnv2;

constexpr int kFewest = 4;  // passes of a warp's 512 bytes

using Addresses = std::array<int, 32>;  // bytes, of each lane

int passes(const Addresses& addresses) {
  int count = 0;
  for (int quarter = 0; quarter < 4; ++quarter) {
    std::array<std::set<int>, 8> rows;  // different ones on each group of four banks
    for (int lane = 8 * quarter; lane < 8 * quarter + 8; ++lane)
      rows[size_t(addresses[size_t(lane)] / 16 % 8)].insert(addresses[size_t(lane)] / 128);
    size_t most = 0;
    for (const auto& group : rows) most = std::max(most, group.size());
    count += int(most);
  }
  return count;
}

// The most passes of any warp's store of its samples or weights, eight halves of each lane.
template <typename Tile>
int store_passes() {
  std::array<int, size_t(Tile::kThreads)> places{};
  const std::function<void(unsigned char*)> body = [&](unsigned char*) {
    places[threadIdx.x] = Tile::place_of_group(0) * 2;
  };
  pssdet::emulator::launch(1, Tile::kThreads, 16, body);
  int most = 0;
  for (size_t warp = 0; warp < Tile::kThreads / 32; ++warp) {
    Addresses addresses;
    std::copy_n(places.begin() + long(32 * warp), 32, addresses.begin());
    most = std::max(most, passes(addresses));
  }
  return most;
}

template <typename Row>
int load_passes(int pitch, const Row& row_of) {
  Addresses addresses;
  for (int lane = 0; lane < 32; ++lane) addresses[size_t(lane)] = row_of(lane) * pitch * 2;
  return passes(addresses);
}

}  // namespace

int main() {
  std::printf("| tile | store | ldmatrix | wmma load |\n|-|-:|-:|-:|\n");
  for (int tile = 0; tile < kTiles; ++tile) {
    with_tile(tile, [&](auto which) {
      using Tile = decltype(which);
      const int store = store_passes<Tile>();
      const int ldmatrix = load_passes(Tile::kPitch, [](int lane) { return lane % 16; });
      // As a simulated V100 has it: the rows r and r + 8 in one quarter of a warp.
      const int wmma =
          load_passes(Tile::kPitch, [](int lane) { return lane % 4 + lane / 4 % 2 * 8 + lane / 16 * 4; });
      std::printf("| %dx%d | %d | %d | %d |\n", Tile::kRows, Tile::kColumns, store, ldmatrix, wmma);
      CHECK(store == kFewest && ldmatrix == kFewest);
      CHECK(wmma == 2 * kFewest);  // whatever the pitch: it must be a multiple of 16 bytes
    });
  }
  return pssdet::test::summary();
}
