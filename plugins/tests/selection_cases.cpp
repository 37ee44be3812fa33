#include "selection_cases.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>

#include "../detection/block_select.cuh"
#include "../detection/boxes.h"
#include "tensors.h"

namespace pssdet::test {
namespace {

using detection::Box;
using detection::Single;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN(),
                kInfinity = std::numeric_limits<float>::infinity();
constexpr int32_t kUnset = -77;

struct Candidate {
  float score;
  int index;  // where scores are equal, the lower one goes first
  Box box;
};

// NaN first, as ONNX Runtime's TopK has it.
bool goes_first(const Candidate& a, const Candidate& b) {
  if (std::isnan(a.score) != std::isnan(b.score)) return std::isnan(a.score);
  return a.score > b.score || (!(a.score < b.score) && a.index < b.index);
}

void keep_best(std::vector<Candidate>& candidates, int most) {
  std::sort(candidates.begin(), candidates.end(), goes_first);
  if (candidates.size() > size_t(most)) candidates.resize(size_t(most));
}

std::vector<Candidate> after_nms(
    const std::vector<Candidate>& candidates, float threshold, float pixel_offset) {
  std::vector<Candidate> kept;
  for (const Candidate& candidate : candidates) {
    const Box own = detection::as_seen(candidate.box, pixel_offset);
    const bool gone = std::any_of(kept.begin(), kept.end(), [&](const Candidate& other) {
      return detection::overlap(detection::as_seen(other.box, pixel_offset), own, threshold);
    });
    if (!gone) kept.push_back(candidate);
  }
  return kept;
}

// Scores from 0 to 1.
float draw_score(std::mt19937& random, Scores scores) {
  std::uniform_real_distribution<float> uniform(0.0f, 1.0f);
  constexpr float kOddScores[] = {kNaN, -kNaN, kInfinity, -kInfinity, 0.0f, -0.0f, 3.4e38f, -3.4e38f, 0.5f};
  const float value = uniform(random);
  switch (scores) {
    case Scores::kDifferent: return value;
    case Scores::kFew: return std::floor(value * 6) / 6;
    case Scores::kSame: return 0.25f;
    case Scores::kOdd: return value < 0.7f ? value : kOddScores[std::min(8, int((value - 0.7f) / 0.3f * 9))];
  }
  return value;
}

void push(std::vector<float>& to, const Box& box) { to.insert(to.end(), {box.x, box.y, box.z, box.w}); }

template <typename Value>
void set_guarded(std::vector<Value>& results, size_t count, Value unset) {
  results.assign(count + kGuarded, unset);
}

bool is_guard_intact(const std::vector<float>& results) {
  return std::all_of(results.end() - kGuarded, results.end(), [](float value) { return std::isnan(value); });
}
bool is_guard_intact(const std::vector<int32_t>& results) {
  return std::all_of(results.end() - kGuarded, results.end(), [](int32_t value) { return value == kUnset; });
}
bool is_guard_intact(const Bytes& results) {
  return std::all_of(
      results.end() - kGuarded, results.end(), [](unsigned char value) { return value == 0xFF; });
}

// How many of the results before the guard differ.
template <typename Value>
int differing(const std::vector<Value>& expected, const std::vector<Value>& got, float tolerance) {
  int count = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    count += !(expected[i] == got[i] || std::fabs(float(expected[i]) - float(got[i])) <= tolerance);
  }
  return count;
}

bool report(const char* name, const std::string& how, int different, bool intact) {
  const bool good = different == 0 && intact;
  std::printf("%s %-40s %-24s %d values differ%s\n", good ? "ok    " : "FAILED", name, how.c_str(), different,
      intact ? "" : ", wrote outside of the results");
  return good;
}

}  // namespace

ProposalsCase::ProposalsCase(const ProposalsSetting& setting) : name(setting.name), type(setting.type) {
  std::mt19937 random(13);
  problem.batch = setting.batch;
  problem.anchors_per_cell = 3;
  problem.pre_nms_top_n = setting.pre_nms_top_n;
  problem.post_nms_top_n = setting.post_nms_top_n;
  problem.nms_threshold = 0.7f;
  problem.min_size = 1.0f;
  problem.pixel_offset = setting.pixel_offset;
  problem.clip_multiple = setting.clip_multiple;
  problem.pyramid.levels = setting.levels;
  std::vector<std::vector<float>> all_scores, all_deltas;
  for (int level = 0, height = setting.height, width = setting.width; level < setting.levels; ++level) {
    problem.pyramid.height[level] = height;
    problem.pyramid.width[level] = width;
    const int stride = problem.pyramid.strides[level] = 4 << level;
    for (int kind = 0; kind < 3; ++kind) {
      const float across = float(stride) * float(1 + kind), down = float(stride) * float(4 - kind);
      float* anchor = problem.anchors + 4 * (3 * level + kind);
      anchor[0] = -across, anchor[1] = -down, anchor[2] = across - setting.pixel_offset,
      anchor[3] = down - setting.pixel_offset;
    }
    const Shape scores_shape = {setting.batch, 3, height * width},
                deltas_shape = {setting.batch, 12, height * width};
    std::vector<float> drawn(scores_shape.count());
    for (float& score : drawn) score = draw_score(random, setting.scores);
    const Tensor score_map(scores_shape, type, setting.score_layout, drawn);
    // Shifts in quarters of a side. Most boxes have their anchor's size, which every exp() gives exactly.
    std::vector<float> moved = draw(random, deltas_shape.count(), 2.0f, PSSDET_F16);
    for (size_t i = 0; i < moved.size(); ++i) {
      const bool is_scale = i / size_t(height * width) % 4 >= 2;
      moved[i] = is_scale ? (std::fabs(moved[i]) < 4 ? 0.0f : moved[i]) : std::nearbyint(moved[i]) / 4;
    }
    const Tensor delta_map(deltas_shape, type, setting.delta_layout, moved);
    all_scores.push_back(score_map.values());
    all_deltas.push_back(delta_map.values());
    scores.push_back(Tensor(score_map).bytes());
    deltas.push_back(Tensor(delta_map).bytes());
    height = ceil_div(height, 2), width = ceil_div(width, 2);
  }
  layouts.assign(size_t(setting.levels), setting.score_layout);
  layouts.insert(layouts.end(), size_t(setting.levels), setting.delta_layout);
  for (int image = 0; image < setting.batch; ++image) {
    image_size.insert(
        image_size.end(), {4.0f * float(setting.height) - float(image), 4.0f * float(setting.width)});
  }
  for (int image = 0; image < setting.batch; ++image) expect_image(image, all_scores, all_deltas);
  forget();
}

void ProposalsCase::expect_image(int image, const std::vector<std::vector<float>>& all_scores,
    const std::vector<std::vector<float>>& all_deltas) {
  std::vector<Candidate> joint;
  for (int level = 0; level < problem.pyramid.levels; ++level) {
    const int cells = problem.pyramid.height[level] * problem.pyramid.width[level];
    std::vector<Candidate> candidates;
    for (int index = 0; index < 3 * cells; ++index) {
      const int cell = index / 3, kind = index % 3;
      Single moved[4];
      for (int i = 0; i < 4; ++i)
        moved[i] = {all_deltas[level][size_t(12 * image + 4 * kind + i) * cells + cell]};
      const Box box = detection::decoded_anchor(
          problem, level, kind, cell, moved, {image_size[2 * image]}, {image_size[2 * image + 1]});
      candidates.push_back({all_scores[level][size_t(3 * image + kind) * cells + cell], index, box});
    }
    keep_best(candidates, problem.pre_nms_top_n);
    candidates.erase(std::remove_if(candidates.begin(), candidates.end(),
                         [&](const Candidate& one) {
                           return !(one.score > detection::kAnyScore) ||
                               !detection::is_large_enough(problem, one.box);
                         }),
        candidates.end());
    std::vector<Candidate> kept = after_nms(candidates, problem.nms_threshold, problem.pixel_offset);
    if (kept.size() > size_t(problem.post_nms_top_n)) kept.resize(size_t(problem.post_nms_top_n));
    for (const Candidate& one : kept) joint.push_back({one.score, int(joint.size()), one.box});
  }
  keep_best(joint, problem.post_nms_top_n);
  expected_count_.push_back(int32_t(joint.size()));
  joint.resize(size_t(problem.post_nms_top_n), {-kInfinity, 0, {0, 0, 0, 0}});
  for (const Candidate& one : joint) {
    push(expected_proposals_, one.box);
    expected_scores_.push_back(one.score);
  }
}

void ProposalsCase::forget() {
  const size_t rows = size_t(problem.batch) * size_t(problem.post_nms_top_n);
  set_guarded(proposals, 4 * rows, kNaN);
  set_guarded(proposal_scores, rows, kNaN);
  set_guarded(count, size_t(problem.batch), kUnset);
  size_t bytes = 0;
  pssdet_proposals_workspace(&problem, &bytes);
  workspace.assign(bytes + kGuarded, 0xFF);
}

bool ProposalsCase::judge(const std::string& how, float tolerance) {
  const int different = differing(expected_proposals_, proposals, tolerance) +
      differing(expected_scores_, proposal_scores, 0) + differing(expected_count_, count, 0);
  const bool intact = is_guard_intact(proposals) && is_guard_intact(proposal_scores) &&
      is_guard_intact(count) && is_guard_intact(workspace);
  forget();
  return report(name, how, different, intact);
}

NmsCase::NmsCase(const NmsSetting& setting)
    : name(setting.name), problem{setting.batch, setting.regions, setting.classes, setting.box_classes,
                              setting.max_detections, setting.score_threshold, 0.5f, setting.pixel_offset} {
  std::mt19937 random(17);
  std::uniform_int_distribution<int> place(0, 200), side(-3, 80);
  for (int i = 0; i < setting.batch * setting.regions * setting.box_classes; ++i) {
    const float x = float(place(random)) / 4, y = float(place(random)) / 4;
    push(boxes, {x, y, x + float(side(random)) / 2, y + float(side(random)) / 2});
  }
  for (int i = 0; i < setting.batch * setting.regions * setting.classes; ++i) {
    scores.push_back(draw_score(random, setting.scores));
  }
  for (int image = 0; image < setting.batch; ++image) {
    region_count.push_back(std::max(0, setting.regions - image * setting.regions / 2));
  }
  for (int image = 0; image < setting.batch; ++image) expect_image(image);
  forget();
}

void NmsCase::expect_image(int image) {
  std::vector<Candidate> joint;
  for (int of = 0; of < problem.classes; ++of) {
    std::vector<Candidate> candidates;
    for (int region = 0; region < region_count[size_t(image)]; ++region) {
      const size_t row = size_t(image * problem.regions + region);
      const float score = scores[row * size_t(problem.classes) + size_t(of)];
      const float* box =
          &boxes[4 * (row * size_t(problem.box_classes) + size_t(problem.box_classes == 1 ? 0 : of))];
      if (score > problem.score_threshold) {
        candidates.push_back({score, of * problem.regions + region, {box[0], box[1], box[2], box[3]}});
      }
    }
    keep_best(candidates, problem.regions);
    const std::vector<Candidate> kept = after_nms(candidates, problem.nms_threshold, problem.pixel_offset);
    joint.insert(joint.end(), kept.begin(), kept.end());
  }
  keep_best(joint, problem.max_detections);
  expected_count_.push_back(int32_t(joint.size()));
  for (int i = 0; i < problem.max_detections; ++i) {
    const bool found = size_t(i) < joint.size();
    push(expected_boxes_, found ? joint[size_t(i)].box : Box{0, 0, 0, 0});
    expected_scores_.push_back(found ? joint[size_t(i)].score : 0.0f);
    expected_labels_.push_back(found ? joint[size_t(i)].index / problem.regions : -1);
  }
}

void NmsCase::forget() {
  const size_t rows = size_t(problem.batch) * size_t(problem.max_detections);
  set_guarded(best_boxes, 4 * rows, kNaN);
  set_guarded(best_scores, rows, kNaN);
  set_guarded(labels, rows, kUnset);
  set_guarded(count, size_t(problem.batch), kUnset);
  size_t bytes = 0;
  pssdet_multiclass_nms_workspace(&problem, &bytes);
  workspace.assign(bytes + kGuarded, 0xFF);
}

bool NmsCase::judge(const std::string& how) {
  const int different = differing(expected_boxes_, best_boxes, 0) +
      differing(expected_scores_, best_scores, 0) + differing(expected_labels_, labels, 0) +
      differing(expected_count_, count, 0);
  const bool intact = is_guard_intact(best_boxes) && is_guard_intact(best_scores) && is_guard_intact(labels) &&
      is_guard_intact(count) && is_guard_intact(workspace);
  forget();
  return report(name, how, different, intact);
}

}  // namespace pssdet::test
