// Where a tap reads: borders, points outside, numbers that are none.
#include <cmath>
#include <limits>
#include <random>

#include "../dcnv2/arguments.h"
#include "checks.h"

namespace {

using namespace pssdet::dcnv2;

constexpr int32_t kHeight = 5, kWidth = 7;

template <typename Real>
bool reads_nothing(const Corners<Real>& corners) {
  const bool inside = corners.y == 0 && corners.x == 0 && corners.down == 0 && corners.right == 0;
  return inside && corners.weight[0] == 0 && corners.weight[1] == 0 && corners.weight[2] == 0 &&
      corners.weight[3] == 0;
}

template <typename Real>
bool is(const Corners<Real>& corners, int32_t y, int32_t x, int32_t down, int32_t right, Real a, Real b, Real c,
    Real d) {
  const bool place = corners.y == y && corners.x == x && corners.down == down && corners.right == right;
  return place && corners.weight[0] == a && corners.weight[1] == b && corners.weight[2] == c &&
      corners.weight[3] == d;
}

template <typename Real>
Corners<Real> at(Real y, Real x, Real mask = Real(1)) {
  return corners_at(y, x, mask, kHeight, kWidth);
}

template <typename Real>
void outside() {
  const Real infinity = std::numeric_limits<Real>::infinity(), nan = std::numeric_limits<Real>::quiet_NaN();
  const Real huge = std::numeric_limits<Real>::max();
  for (const Real y : {Real(-1), Real(kHeight), -infinity, infinity, nan, -huge, huge}) {
    CHECK(reads_nothing(at<Real>(y, 2)));
    CHECK(reads_nothing(at<Real>(y, nan)));
    CHECK(reads_nothing(at<Real>(y, 2, nan)));
  }
  for (const Real x : {Real(-1), Real(kWidth), -infinity, infinity, nan, -huge, huge})
    CHECK(reads_nothing(at<Real>(2, x)));
}

template <typename Real>
void inside() {
  CHECK(is<Real>(at<Real>(0, 0), 0, 0, 1, 1, 1, 0, 0, 0));
  CHECK(is<Real>(at<Real>(1.25f, 3.5f), 1, 3, 1, 1, 0.375f, 0.375f, 0.125f, 0.125f));
  CHECK(is<Real>(at<Real>(1.25f, 3.5f, -2), 1, 3, 1, 1, -0.75f, -0.75f, -0.25f, -0.25f));
  // The last row and column have no neighbours.
  CHECK(is<Real>(at<Real>(kHeight - 1, kWidth - 1), kHeight - 1, kWidth - 1, 0, 0, 1, 0, 0, 0));
  CHECK(is<Real>(at<Real>(kHeight - 0.75f, 1.5f), kHeight - 1, 1, 0, 1, 0.375f, 0.375f, 0, 0));
  CHECK(is<Real>(at<Real>(1.5f, kWidth - 0.75f), 1, kWidth - 1, 1, 0, 0.375f, 0, 0.375f, 0));
  // Above and to the left of the first ones only the neighbours are left, and the place read is theirs.
  CHECK(is<Real>(at<Real>(-0.75f, 1.5f), 0, 1, 0, 1, 0, 0, 0.125f, 0.125f));
  CHECK(is<Real>(at<Real>(1.5f, -0.75f), 1, 0, 1, 0, 0, 0.125f, 0, 0.125f));
  CHECK(is<Real>(at<Real>(-0.5f, -0.5f), 0, 0, 0, 0, 0, 0, 0, 0.25f));
  // As near to the border as numbers come.
  CHECK(is<Real>(at<Real>(std::nextafter(Real(kHeight), Real(0)), 0), kHeight - 1, 0, 0, 1,
      Real(kHeight) - std::nextafter(Real(kHeight), Real(0)), 0, 0, 0));
  CHECK(at<Real>(std::nextafter(Real(-1), Real(0)), 0).weight[2] == 1 + std::nextafter(Real(-1), Real(0)));
  CHECK(is<Real>(at<Real>(-std::numeric_limits<Real>::min(), 0), 0, 0, 0, 1, 0, 0, 1, 0));
}

// A pixel without neighbours, and an image so wide that float32 rounds its width up.
void odd_images() {
  CHECK(is<float>(corners_at(0.25f, -0.25f, 1.0f, 1, 1), 0, 0, 0, 0, 0, 0.5625f, 0, 0));
  const int32_t width = (1 << 25) + 3;
  const Corners<float> corners = corners_at(0.0f, std::nextafter(float(width), 0.0f), 1.0f, 1, width);
  CHECK(corners.x < width && corners.x + corners.right < width);
}

// Every place that has weight, and every place read, lies in the image; the weights are the definition's.
void random_points() {
  std::mt19937 random(3);
  std::uniform_real_distribution<double> across(-2.5, kWidth + 2.5);
  for (int i = 0; i < 100000; ++i) {
    const double y = across(random), x = across(random);
    const Corners<double> corners = at(y, x, 0.5);
    CHECK(corners.y >= 0 && corners.y + corners.down < kHeight && corners.x >= 0 &&
        corners.x + corners.right < kWidth);
    double expected = 0, got = 0;
    for (int32_t row = 0; row < kHeight; ++row) {
      for (int32_t column = 0; column < kWidth; ++column) {
        const double pixel = 1 + row * kWidth + column;
        expected +=
            0.5 * std::fmax(0, 1 - std::fabs(y - row)) * std::fmax(0, 1 - std::fabs(x - column)) * pixel;
      }
    }
    for (int corner = 0; corner < 4; ++corner) {
      const int32_t row = corners.y + corner / 2 * corners.down,
                    column = corners.x + corner % 2 * corners.right;
      got += corners.weight[corner] * (1 + row * kWidth + column);
    }
    CHECK(std::fabs(expected - got) < 1e-12);
  }
}

}  // namespace

int main() {
  outside<float>();
  outside<double>();
  inside<float>();
  inside<double>();
  odd_images();
  random_points();
  CHECK(sigmoid(0.0f) == 0.5f && sigmoid(1000.0f) == 1.0f && sigmoid(-1000.0f) == 0.0f);
  return pssdet::test::summary();
}
