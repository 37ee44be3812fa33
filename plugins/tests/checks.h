// The least that a test needs: what failed, where, and how often.
#pragma once

#include <cstdio>
#include <string>

namespace pssdet::test {

inline int& failures() {
  static int count = 0;
  return count;
}

inline void check(bool good, const char* what, const char* file, int line) {
  if (good) return;
  ++failures();
  std::printf("%s:%d: not true: %s\n", file, line, what);
}

// A check with words of its own.
inline void expect(bool truth, const std::string& what) {
  if (truth) return;
  ++failures();
  std::printf("FAILED: %s\n", what.c_str());
}

// What main returns.
inline int summary() {
  std::printf("%d failed\n", failures());
  return failures() != 0;
}

}  // namespace pssdet::test

#define CHECK(condition) ::pssdet::test::check((condition), #condition, __FILE__, __LINE__)
