// The emulator's conversions between half and float32, for every half.
#include <cmath>
#include <cstring>
#include <limits>

#include "../device/device.h"
#include "checks.h"

namespace {

constexpr int kInfinity = 0x7C00, kLargest = 0x7BFF;

half of_bits(int bits) { return {uint16_t(bits)}; }

// As IEEE 754 defines it, apart from infinities and NaN.
double value_of(int bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double magnitude =
      exponent ? (1024 + fraction) * std::pow(2.0, exponent - 25) : fraction * std::pow(2.0, -24);
  return bits & 0x8000 ? -magnitude : magnitude;
}

void to_float() {
  for (int bits = 0; bits < 1 << 16; ++bits) {
    const float value = __half2float(of_bits(bits));
    const int magnitude = bits & 0x7FFF;
    CHECK(std::signbit(value) == (bits >= 0x8000));
    if (magnitude < kInfinity) {
      CHECK(value == float(value_of(bits)));
    } else if (magnitude == kInfinity) {
      CHECK(std::isinf(value));
    } else {
      CHECK(std::isnan(value));
    }
  }
}

int bits_of(float value) { return __float2half_rn(value).bits; }

// Every half comes back; what lies between two goes to the nearer, a tie to the even one.
void from_float() {
  for (int bits = 0; bits < kInfinity; ++bits) {
    for (const int sign : {0, 0x8000}) {
      const float value = __half2float(of_bits(bits | sign));
      CHECK(bits_of(value) == (bits | sign));
      // The largest half's neighbour would be 65536.
      const double next = bits == kLargest ? 65536.0 : value_of(bits + 1);
      const float middle = float((value_of(bits) + next) / 2) * (sign ? -1.0f : 1.0f);
      CHECK(bits_of(middle) == ((bits % 2 ? bits + 1 : bits) | sign));
      CHECK(bits_of(std::nextafter(middle, 0.0f)) == (bits | sign));
      CHECK(bits_of(std::nextafter(middle, 2 * middle)) == ((bits + 1) | sign));
    }
  }
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(bits_of(infinity) == kInfinity && bits_of(-infinity) == (kInfinity | 0x8000));
  CHECK(bits_of(std::numeric_limits<float>::max()) == kInfinity);
  CHECK(bits_of(std::numeric_limits<float>::denorm_min()) == 0);
  CHECK(bits_of(-0.0f) == 0x8000);
  for (int bits = kInfinity + 1; bits < 1 << 15; ++bits) CHECK(bits_of(__half2float(of_bits(bits))) == 0x7FFF);
}

void pairs() {
  const half2 both = __floats2half2_rn(1.5f, -2.0f);
  const float2 values = __half22float2(both);
  CHECK(values.x == 1.5f && values.y == -2.0f);
}

}  // namespace

int main() {
  to_float();
  from_float();
  pairs();
  return pssdet::test::summary();
}
