// Cases of proposals and class-wise NMS: tensors as kernels take them, and what a plain program makes of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../detection/detection.h"

namespace pssdet::test {

using Bytes = std::vector<unsigned char>;

// Behind everything that kernels write there are as many values more, which they must leave alone.
constexpr size_t kGuarded = 16;

// How the scores of a case are drawn.
enum class Scores {
  kDifferent,
  kFew,   // many are alike
  kSame,  // all are
  kOdd,   // among others NaN, infinities and none
};

struct ProposalsSetting {
  const char* name;
  pssdet_dtype type;
  pssdet_layout score_layout, delta_layout;
  Scores scores;
  int32_t batch, levels, height, width;  // of the first level; each further one has half of it, rounded up
  int32_t pre_nms_top_n, post_nms_top_n;
  float pixel_offset, clip_multiple;
};

class ProposalsCase {
 public:
  explicit ProposalsCase(const ProposalsSetting& setting);

  // Whether the results are right; prints a line, and forgets them. tolerance: of boxes.
  bool judge(const std::string& how, float tolerance);

  const char* name;
  pssdet_dtype type;
  pssdet_proposals_problem problem = {};
  std::vector<pssdet_layout> layouts;
  std::vector<Bytes> scores, deltas;
  std::vector<float> image_size;
  // To be filled, all with a guard.
  std::vector<float> proposals, proposal_scores;
  std::vector<int32_t> count;
  Bytes workspace;

 private:
  void forget();
  void expect_image(int image, const std::vector<std::vector<float>>& all_scores,
      const std::vector<std::vector<float>>& all_deltas);

  std::vector<float> expected_proposals_, expected_scores_;
  std::vector<int32_t> expected_count_;
};

struct NmsSetting {
  const char* name;
  Scores scores;
  int32_t batch, regions, classes, box_classes, max_detections;
  float score_threshold, pixel_offset;
};

class NmsCase {
 public:
  explicit NmsCase(const NmsSetting& setting);

  bool judge(const std::string& how);

  const char* name;
  pssdet_multiclass_nms_problem problem;
  std::vector<float> boxes, scores;
  std::vector<int32_t> region_count;
  // To be filled, all with a guard.
  std::vector<float> best_boxes, best_scores;
  std::vector<int32_t> labels, count;
  Bytes workspace;

 private:
  void forget();
  void expect_image(int image);

  std::vector<float> expected_boxes_, expected_scores_;
  std::vector<int32_t> expected_labels_, expected_count_;
};

constexpr ProposalsSetting kProposals[] = {
    {"float32", PSSDET_F32, PSSDET_NCHW, PSSDET_NCHW, Scores::kDifferent, 2, 3, 20, 24, 100, 50, 0, 1},
    {"float32, pixels counted", PSSDET_F32, PSSDET_NCHW, PSSDET_NCHW, Scores::kDifferent, 2, 3, 20, 24, 100, 50,
        1, 32},
    {"half NHWC", PSSDET_F16, PSSDET_NHWC, PSSDET_NHWC, Scores::kDifferent, 2, 3, 20, 24, 100, 50, 0, 1},
    {"half NHWC and NCHW", PSSDET_F16, PSSDET_NHWC, PSSDET_NCHW, Scores::kDifferent, 1, 2, 16, 16, 70, 200, 1,
        1},
    {"float32 NCHW and NHWC", PSSDET_F32, PSSDET_NCHW, PSSDET_NHWC, Scores::kFew, 1, 2, 16, 16, 70, 200, 0, 32},
    {"few scores", PSSDET_F32, PSSDET_NCHW, PSSDET_NCHW, Scores::kFew, 2, 3, 20, 24, 100, 50, 0, 1},
    {"one score", PSSDET_F16, PSSDET_NCHW, PSSDET_NCHW, Scores::kSame, 1, 3, 20, 24, 100, 50, 0, 1},
    {"odd scores", PSSDET_F32, PSSDET_NCHW, PSSDET_NCHW, Scores::kOdd, 3, 3, 20, 24, 100, 50, 0, 1},
    {"several chunks", PSSDET_F32, PSSDET_NCHW, PSSDET_NCHW, Scores::kDifferent, 1, 2, 60, 70, 300, 200, 0, 1},
    {"several chunks, few scores, half", PSSDET_F16, PSSDET_NHWC, PSSDET_NHWC, Scores::kFew, 1, 2, 60, 70, 300,
        200, 0, 1},
    {"one cell", PSSDET_F32, PSSDET_NCHW, PSSDET_NHWC, Scores::kDifferent, 1, 1, 1, 1, 1, 1, 0, 1},
    {"eight levels", PSSDET_F32, PSSDET_NCHW, PSSDET_NCHW, Scores::kFew, 1, 8, 16, 12, 33, 65, 0, 1},
};

// For a GPU alone: an emulator takes too long.
constexpr ProposalsSetting kLargeProposals[] = {
    {"640", PSSDET_F16, PSSDET_NCHW, PSSDET_NCHW, Scores::kDifferent, 2, 5, 160, 160, 500, 300, 0, 1},
    {"640, 1000 candidates", PSSDET_F32, PSSDET_NCHW, PSSDET_NCHW, Scores::kFew, 2, 5, 160, 160, 1000, 1000, 1,
        32},
    {"1344, the most candidates", PSSDET_F16, PSSDET_NHWC, PSSDET_NHWC, Scores::kDifferent, 1, 5, 200, 336,
        2048, 2048, 0, 1},
};

constexpr NmsSetting kNms[] = {
    {"boxes of classes", Scores::kDifferent, 2, 80, 5, 5, 30, 0.05f, 0},
    {"shared boxes, pixels counted", Scores::kDifferent, 2, 80, 5, 1, 100, 0.05f, 1},
    {"few scores", Scores::kFew, 2, 80, 5, 5, 50, 0.05f, 0},
    {"one score", Scores::kSame, 1, 120, 3, 1, 100, 0.05f, 0},
    {"odd scores", Scores::kOdd, 3, 80, 5, 5, 100, 0.05f, 1},
    {"no candidate", Scores::kDifferent, 1, 40, 3, 3, 10, 2.0f, 0},
    {"every candidate", Scores::kDifferent, 1, 300, 2, 2, 1000, 0, 0},
    {"one region", Scores::kDifferent, 1, 1, 1, 1, 1, 0, 0},
};

constexpr NmsSetting kLargeNms[] = {
    {"300 regions of 80 classes", Scores::kDifferent, 8, 300, 80, 80, 100, 0.05f, 0},
    {"1000 regions of 80 classes", Scores::kFew, 2, 1000, 80, 80, 100, 0.05f, 1},
    {"the most regions", Scores::kDifferent, 2, 2048, 10, 1, 2048, 0.05f, 0},
};

}  // namespace pssdet::test
