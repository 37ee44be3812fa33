// What the C functions of proposals and of class-wise NMS accept: sizes, their limits, formats and pointers.
#include <climits>
#include <cmath>

#include "../detection/multiclass_nms.cuh"
#include "../detection/proposals.cuh"
#include "checks.h"

namespace {

using namespace pssdet::detection;
using Proposals = pssdet_proposals_problem;
using Nms = pssdet_multiclass_nms_problem;

Proposals plain_proposals() {
  Proposals problem = {};
  problem.batch = 2;
  problem.pyramid = {2, {20, 10}, {30, 15}, {4, 8}};
  problem.anchors_per_cell = 3;
  problem.pre_nms_top_n = 500;
  problem.post_nms_top_n = 300;
  problem.nms_threshold = 0.7f;
  problem.min_size = 1;
  problem.clip_multiple = 32;
  return problem;
}

constexpr Nms kNms = {2, 300, 80, 80, 100, 0.05f, 0.5f, 0};

template <typename Change>
size_t proposals_bytes(const Change& change) {
  Proposals problem = plain_proposals();
  change(problem);
  size_t bytes = 1;
  const pssdet_status status = pssdet_proposals_workspace(&problem, &bytes);
  CHECK((status == PSSDET_OK) == (bytes > 0));
  return bytes;
}

template <typename Change>
size_t nms_bytes(const Change& change) {
  Nms problem = kNms;
  change(problem);
  size_t bytes = 1;
  const pssdet_status status = pssdet_multiclass_nms_workspace(&problem, &bytes);
  CHECK((status == PSSDET_OK) == (bytes > 0));
  return bytes;
}

void workspaces() {
  // Of a level's candidate a box and a key, of a chunk's a key; each of the two levels is one chunk.
  CHECK(proposals_bytes([](Proposals&) {}) == 2 * 2 * 500 * (16 + 8 + 8));
  CHECK(proposals_bytes([](Proposals& p) { p.pyramid.height[0] = 200; }) ==
      2 * (2 * 500 * (16 + 8) + 4 * 500 * 8));
  CHECK(nms_bytes([](Nms&) {}) == 2 * 80 * (300 + 100) * 8);
  CHECK(nms_bytes([](Nms& p) { p.max_detections = 2000; }) == 2 * 80 * (300 + 300) * 8);
  CHECK(
      nms_bytes([](Nms& p) { p.batch = p.classes = p.box_classes = p.regions = p.max_detections = 1; }) == 32);
  size_t bytes = 1;
  CHECK(pssdet_proposals_workspace(nullptr, &bytes) == PSSDET_BAD_PROBLEM && bytes == 0);
  CHECK(pssdet_multiclass_nms_workspace(nullptr, &bytes) == PSSDET_BAD_PROBLEM);
  const Proposals problem = plain_proposals();
  CHECK(pssdet_proposals_workspace(&problem, nullptr) == PSSDET_BAD_PROBLEM);
  CHECK(pssdet_multiclass_nms_workspace(&kNms, nullptr) == PSSDET_BAD_PROBLEM);
}

void proposals_sizes() {
  int32_t Proposals::* const counts[] = {
      &Proposals::batch, &Proposals::anchors_per_cell, &Proposals::pre_nms_top_n, &Proposals::post_nms_top_n};
  for (const auto member : counts) {
    for (const int32_t bad : {0, -1, INT_MIN, INT_MAX})
      CHECK(!proposals_bytes([&](Proposals& p) { p.*member = bad; }));
  }
  for (const int32_t bad : {0, 9, -1, INT_MAX})
    CHECK(!proposals_bytes([&](Proposals& p) { p.pyramid.levels = bad; }));
  for (const int32_t bad : {0, -1, INT_MAX}) {
    CHECK(!proposals_bytes([&](Proposals& p) { p.pyramid.height[1] = bad; }));
    CHECK(!proposals_bytes([&](Proposals& p) { p.pyramid.width[1] = bad; }));
    CHECK(!proposals_bytes([&](Proposals& p) { p.pyramid.strides[1] = bad; }));
  }
  // What lies past the levels does not matter.
  CHECK(proposals_bytes([](Proposals& p) { p.pyramid.height[2] = -1; }));
  for (auto member : {&Proposals::pre_nms_top_n, &Proposals::post_nms_top_n}) {
    CHECK(proposals_bytes([&](Proposals& p) { p.*member = PSSDET_MAX_CANDIDATES; }));
    CHECK(!proposals_bytes([&](Proposals& p) { p.*member = PSSDET_MAX_CANDIDATES + 1; }));
  }
  CHECK(proposals_bytes([](Proposals& p) { p.anchors_per_cell = PSSDET_MAX_ANCHORS; }));
  CHECK(!proposals_bytes([](Proposals& p) { p.anchors_per_cell = PSSDET_MAX_ANCHORS + 1; }));
  CHECK(!proposals_bytes([](Proposals& p) { p.pyramid.height[0] = p.pyramid.width[0] = 8192; }));
  CHECK(!proposals_bytes([](Proposals& p) { p.batch = INT_MAX / 3; }));
}

void proposals_numbers() {
  for (const float bad : {-0.1f, 1.1f, NAN})
    CHECK(!proposals_bytes([&](Proposals& p) { p.nms_threshold = bad; }));
  for (const float bad : {-1.0f, NAN, INFINITY})
    CHECK(!proposals_bytes([&](Proposals& p) { p.pixel_offset = bad; }));
  for (const float bad : {0.0f, -1.0f, NAN, INFINITY})
    CHECK(!proposals_bytes([&](Proposals& p) { p.clip_multiple = bad; }));
  for (const float bad : {NAN, INFINITY}) CHECK(!proposals_bytes([&](Proposals& p) { p.min_size = bad; }));
  CHECK(proposals_bytes([](Proposals& p) { p.min_size = -1; }));
}

void nms_sizes() {
  int32_t Nms::* const counts[] = {
      &Nms::batch, &Nms::regions, &Nms::classes, &Nms::box_classes, &Nms::max_detections};
  for (const auto member : counts) {
    for (const int32_t bad : {0, -1, INT_MIN, INT_MAX}) CHECK(!nms_bytes([&](Nms& p) { p.*member = bad; }));
  }
  for (const auto member : {&Nms::regions, &Nms::max_detections}) {
    CHECK(nms_bytes([&](Nms& p) { p.*member = PSSDET_MAX_CANDIDATES; }));
    CHECK(!nms_bytes([&](Nms& p) { p.*member = PSSDET_MAX_CANDIDATES + 1; }));
  }
  CHECK(nms_bytes([](Nms& p) { p.box_classes = 1; }));
  CHECK(!nms_bytes([](Nms& p) { p.box_classes = 2; }));
  CHECK(!nms_bytes([](Nms& p) { p.classes = p.box_classes = 1 << 20; }));
  CHECK(!nms_bytes([](Nms& p) { p.score_threshold = NAN; }));
  CHECK(nms_bytes([](Nms& p) { p.score_threshold = -INFINITY; }));
  for (const float bad : {-0.1f, 1.1f, NAN}) CHECK(!nms_bytes([&](Nms& p) { p.nms_threshold = bad; }));
  for (const float bad : {-1.0f, NAN, INFINITY}) CHECK(!nms_bytes([&](Nms& p) { p.pixel_offset = bad; }));
}

alignas(16) float memory[8];
// Addresses aligned to fewer bytes than the type of the value, which is 4 or 2 bytes, and than a box.
float* at_byte(int byte) { return reinterpret_cast<float*>(reinterpret_cast<unsigned char*>(memory) + byte); }

struct ProposalsCall {
  Proposals problem = plain_proposals();
  pssdet_dtype type = PSSDET_F16;
  pssdet_layout layouts[4] = {PSSDET_NCHW, PSSDET_NHWC, PSSDET_NHWC, PSSDET_NCHW};
  const void* scores[2] = {memory, memory};
  const void* deltas[2] = {memory, memory};
  float *image_size = memory, *proposals = memory, *proposal_scores = memory, *count = memory,
        *workspace = memory;
  ProposalsArguments arguments = {};

  pssdet_status prepare() {
    return pssdet::detection::prepare(&problem, type, layouts, scores, deltas, image_size, proposals,
        proposal_scores, reinterpret_cast<int32_t*>(count), workspace, &arguments);
  }
};

template <typename Change>
bool accepted(const Change& change) {
  ProposalsCall call;
  change(call);
  return call.prepare() == PSSDET_OK;
}

void proposals_tensors() {
  using Call = ProposalsCall;
  CHECK(accepted([](Call&) {}));
  CHECK(!accepted([](Call& c) { c.type = pssdet_dtype(2); }));
  CHECK(!accepted([](Call& c) { c.layouts[3] = pssdet_layout(2); }));
  CHECK(!accepted([](Call& c) { c.problem.batch = 0; }));
  for (const int level : {0, 1}) {
    CHECK(!accepted([&](Call& c) { c.scores[level] = nullptr; }));
    CHECK(!accepted([&](Call& c) { c.deltas[level] = at_byte(1); }));
    CHECK(accepted([&](Call& c) { c.scores[level] = c.deltas[level] = at_byte(2); }));
  }
  for (const auto member :
      {&Call::image_size, &Call::proposals, &Call::proposal_scores, &Call::count, &Call::workspace}) {
    CHECK(!accepted([&](Call& c) { c.*member = nullptr; }));
    CHECK(!accepted([&](Call& c) { c.*member = at_byte(2); }));
    const bool boxes = member == &Call::proposals || member == &Call::workspace;
    CHECK(accepted([&](Call& c) { c.*member = at_byte(4); }) == !boxes);
  }
  Call call;
  CHECK(call.prepare() == PSSDET_OK);
  const pssdet::TensorView &nchw_map = call.arguments.scores[0], &nhwc_map = call.arguments.deltas[0];
  const pssdet::Strides &nchw = nchw_map.strides, &nhwc = nhwc_map.strides;
  CHECK(nchw.image == 3 * 600 && nchw.plane == 600 && nchw.step == 1 && nchw_map.is_half);
  CHECK(nhwc.image == 16 * 600 && nhwc.plane == 1 && nhwc.step == 16);
  CHECK(call.arguments.chunks() == 2 && call.arguments.anchors(1) == 450);
}

void nms_tensors() {
  NmsArguments arguments;
  for (int bad = -1; bad < 8; ++bad) {
    const bool boxes = bad == 0 || bad == 3 || bad == 7;
    for (float* value : {static_cast<float*>(nullptr), at_byte(2), at_byte(4)}) {
      const auto at = [&](int place) { return place == bad ? value : memory; };
      const pssdet_status status = prepare(&kNms, at(0), at(1), reinterpret_cast<int32_t*>(at(2)), at(3), at(4),
          reinterpret_cast<int32_t*>(at(5)), reinterpret_cast<int32_t*>(at(6)), at(7), &arguments);
      CHECK((status == PSSDET_OK) == (bad < 0 || (value == at_byte(4) && !boxes)));
    }
  }
}

}  // namespace

int main() {
  workspaces();
  proposals_sizes();
  proposals_numbers();
  nms_sizes();
  proposals_tensors();
  nms_tensors();
  return pssdet::test::summary();
}
