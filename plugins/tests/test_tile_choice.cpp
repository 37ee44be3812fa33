// What a block of the general kernel computes; and the choice of a tile: what it prefers, how it compares with
// simulated cycles, and what it estimates for the 13 layers of ResNet-50 at 640 x 640, before its last change
// and now. Prints the tables of benchmarks/results/kernel_estimates.md.
#include <cmath>
#include <cstdio>

#include "../dcnv2/direct_kernel.cuh"
#include "../dcnv2/tile_choice.h"
#include "checks.h"

namespace {

using namespace pssdet::dcnv2;
using pssdet::Device;

constexpr Device kV100 = {70, 80, 96 * 1024}, kH200 = {90, 132, 228 * 1024};
constexpr double kV100Megahertz = 1530, kH200Megahertz = 1755;

struct Layer {
  const char* name;
  int count, channels, side, stride;  // side: of the input
};

constexpr Layer kLayers[] = {
    {"c3, first", 1, 128, 160, 2},
    {"c3", 3, 128, 80, 1},
    {"c4, first", 1, 256, 80, 2},
    {"c4", 5, 256, 40, 1},
    {"c5, first", 1, 512, 40, 2},
    {"c5", 2, 512, 20, 1},
};

Arguments arguments_of(const Layer& layer, int batch) {
  alignas(16) static float memory[4];
  const pssdet_dcnv2_format format = {PSSDET_F16, PSSDET_NHWC, PSSDET_F32, PSSDET_NCHW, 0, 0};
  const pssdet_dcnv2_problem problem = {batch, layer.channels, layer.side, layer.side, layer.channels, 3, 3,
      layer.stride, layer.stride, 1, 1, 1, 1, 1, 1, 1, 1};
  Arguments arguments;
  CHECK(prepare(problem, format, memory, memory, memory, memory, memory, memory, &arguments) == PSSDET_OK);
  return arguments;
}

// As it was: the largest tile with a block for each multiprocessor, no path for whole k-tiles, and registers
// for as many blocks as the compiler happened to leave.
struct Before {
  int instructions_before_80, instructions_from_80, blocks_before_80, blocks_from_80;
};

constexpr Before kBefore[kTiles] = {
    {618, 317, 1, 1}, {510, 221, 1, 1}, {642, 333, 2, 2}, {474, 297, 1, 2}, {498, 320, 1, 2}};

// Rows next to each other were stored together.
template <typename Tile>
int passes_before() {
  return Tile::kTileK == 32 ? 2 : 1;
}

int choice_before(const Arguments& arguments, const Device& device) {
  for (int tile = 0; tile < kTiles; ++tile) {
    const bool suits = with_tile(tile, [&](auto which) {
      return which.kColumns <= arguments.problem.out_channels &&
          which.blocks(arguments) >= device.multiprocessors;
    });
    if (suits) return tile;
  }
  return kTiles - 1;
}

double cycles_before(const Arguments& arguments, const Device& device, int tile) {
  const Before& cost = kBefore[tile];
  const bool from_80 = device.capability >= 80;
  return with_tile(tile, [&](auto which) {
    return estimated_cycles<decltype(which)>(arguments, device,
        from_80 ? cost.blocks_from_80 : cost.blocks_before_80,
        from_80 ? cost.instructions_from_80 : cost.instructions_before_80, kTileCosts[tile].once,
        passes_before<decltype(which)>());
  });
}

const char* name_of(int tile) {
  constexpr const char* kNames[] = {"128x128", "64x256", "64x128", "64x64", "32x64"};
  return kNames[tile];
}

// Returns the estimate as a part of what it was before.
double compare(const char* device_name, const Device& device, double megahertz, int batch) {
  double before = 0, now = 0;
  for (const Layer& layer : kLayers) {
    const Arguments arguments = arguments_of(layer, batch);
    const int old_tile = choice_before(arguments, device), tile = choose_tile(arguments, device);
    const double old_time = cycles_before(arguments, device, old_tile) / megahertz,
                 time = estimated_cycles(arguments, device, tile) / megahertz;
    std::printf("| %s | %d | %s | %d | %s | %.0f | %s | %.0f |\n", device_name, batch, layer.name, layer.count,
        name_of(old_tile), old_time, name_of(tile), time);
    before += layer.count * old_time;
    now += layer.count * time;
  }
  std::printf("| %s | %d | all | 13 | | %.0f | | %.0f |\n", device_name, batch, before, now);
  return now / before;
}

void estimates() {
  std::printf("| GPU | batch | layer | layers | tile before | us each | tile now | us each |\n");
  std::printf("|-|-:|-|-:|-|-:|-|-:|\n");
  CHECK(compare("H200", kH200, kH200Megahertz, 8) <= 0.75);
  CHECK(compare("H200", kH200, kH200Megahertz, 1) <= 1);
  CHECK(compare("V100", kV100, kV100Megahertz, 8) <= 1);
  CHECK(compare("V100", kV100, kV100Megahertz, 1) <= 1);
}

// Cycles of a simulated V100 for 2^19 multiply-adds, of blocks alone and in pairs, with the instructions of
// that time. The simulator takes about twice the time of a GPU, so the model must only be right up to a factor.
void simulated() {
  struct Simulated {
    int tile, blocks;
    double cycles;
  };
  constexpr Simulated kSimulated[] = {
      {0, 1, 4140}, {1, 1, 3838}, {2, 1, 4742}, {2, 2, 4487}, {3, 1, 4391}, {3, 2, 4679}, {4, 1, 5421}};
  double least = 1e9, most = 0;
  std::printf("\n| tile | blocks | simulated cycles | model | factor |\n|-|-:|-:|-:|-:|\n");
  for (const Simulated& one : kSimulated) {
    const double model = with_tile(one.tile, [&](auto which) {
      using Tile = decltype(which);
      const double products = double(Tile::kRows) * Tile::kColumns * Tile::kTileK;
      return busy_cycles<Tile>(70, kBefore[one.tile].instructions_before_80, passes_before<Tile>()) /
          efficiency(one.blocks * Tile::kThreads / 32) * (1 << 19) / products;
    });
    std::printf("| %s | %d | %.0f | %.0f | %.2f |\n", name_of(one.tile), one.blocks, one.cycles, model,
        one.cycles / model);
    least = std::fmin(least, one.cycles / model);
    most = std::fmax(most, one.cycles / model);
  }
  CHECK(most / least <= 1.45);
}

// What must hold whatever the numbers are.
void preferences() {
  for (const Device& device : {kV100, kH200}) {
    for (const Layer& layer : kLayers) {
      const Arguments small = arguments_of(layer, 1), large = arguments_of(layer, 64);
      const auto blocks = [&](const Arguments& arguments) {
        return with_tile(choose_tile(arguments, device), [&](auto which) { return which.blocks(arguments); });
      };
      CHECK(blocks(large) >= blocks(small));
      // No column beyond the output channels is computed where a tile without any would do.
      with_tile(
          choose_tile(large, device), [&](auto which) { CHECK(which.kColumns <= large.problem.out_channels); });
    }
  }
  // A single image gives few multiprocessors work in large tiles, a batch all of them.
  const Layer& last = kLayers[5];
  CHECK(choose_tile(arguments_of(last, 1), kV100) > choose_tile(arguments_of(last, 64), kV100));
  CHECK(choose_tile(arguments_of(last, 1), kH200) > choose_tile(arguments_of(last, 64), kH200));
  CHECK(choose_tile(arguments_of(last, 64), {90, 0, 0}) >= 0);  // a device that cannot be asked
}

// The general kernel: small groups share a block, as far as one offset group and 64 output channels reach.
void shares() {
  const auto is = [](int channels, int out_channels, int groups, int offset_groups,
                      const DirectShare& expected) {
    const pssdet_dcnv2_problem problem = {
        1, channels, 8, 8, out_channels, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, groups, offset_groups};
    const DirectShare share = DirectShare::of(problem);
    return share.groups == expected.groups && share.depth_shift == expected.depth_shift &&
        share.samples_shift == expected.samples_shift;
  };
  // ResNeXt's 64 groups: all 64 channels of a block, and all that are sampled, are of use.
  CHECK(is(256, 256, 64, 1, {16, 2, 6}) && is(512, 512, 64, 1, {8, 3, 6}));
  CHECK(is(1024, 1024, 64, 1, {4, 4, 6}) && is(2048, 2048, 64, 1, {2, 4, 5}));
  CHECK(is(256, 256, 1, 1, {1, 4, 4}) && is(256, 256, 2, 1, {1, 4, 4}));
  CHECK(is(3, 64, 1, 1, {1, 2, 2}));
  // Of 10 groups that go with one offset group, 5 and not 8 fill whole blocks.
  CHECK(is(60, 80, 10, 1, {5, 3, 6}) && is(64, 64, 64, 64, {1, 0, 0}) && is(24, 12, 2, 3, {1, 4, 4}));
}

void occupancy() {
  using pssdet::resident_blocks;
  CHECK(resident_blocks(2, 48 * 1024, 70, 96 * 1024) == 2 && resident_blocks(2, 49 * 1024, 70, 96 * 1024) == 1);
  CHECK(
      resident_blocks(2, 49 * 1024, 80, 100 * 1024) == 2 && resident_blocks(2, 50 * 1024, 80, 100 * 1024) == 1);
  CHECK(resident_blocks(1, 200 * 1024, 70, 96 * 1024) == 1);
  CHECK(pssdet::shared_carve_out(kV100, 2, 48 * 1024) == 100 &&
      pssdet::shared_carve_out(kV100, 1, 48 * 1024) == 50);
  CHECK(pssdet::shared_carve_out(kV100, 4, 48 * 1024) == 100 && pssdet::shared_carve_out(kH200, 1, 1) == 1);
}

}  // namespace

int main() {
  estimates();
  simulated();
  preferences();
  shares();
  occupancy();
  return pssdet::test::summary();
}
