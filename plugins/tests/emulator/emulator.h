// Runs kernels on a CPU, thread by thread: for tests only, and for correctness only.
//
// Each CUDA thread of a block is a fiber. A fiber runs until it reaches a barrier; when all of its warp (or
// block) have, they go on, and a warp goes as far as it can before the next one does. What a kernel reads too
// early it therefore reads wrongly: shared memory starts as NaN, asynchronous copies arrive only when they are
// waited for, and the order in which threads run can be reversed.
// Tensor core instructions follow the layouts of the PTX ISA.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include <ucontext.h>

namespace pssdet::emulator {

struct Index3 {
  unsigned x = 0, y = 0, z = 0;
};

constexpr int kWarp = 32;
constexpr size_t kStack = 256 * 1024;

enum class State { kReady, kAtWarpBarrier, kAtBlockBarrier, kDone };

struct Copy {
  void* to;
  const void* from;
  size_t bytes;  // the rest of the 16 is zero
};

struct Thread {
  Index3 index;
  int number = 0;
  State state = State::kReady;
  ucontext_t context;
  std::vector<std::vector<Copy>> groups =
      std::vector<std::vector<Copy>>(1);  // the last one is not committed yet
  unsigned char exchange[64];             // what the lanes of a warp show each other
};

struct Block {
  Index3 index, grid, size;
  std::vector<Thread> threads;
  std::unique_ptr<unsigned char[]> stacks;
  ucontext_t scheduler;
  Thread* running = nullptr;
  const std::function<void()>* body = nullptr;
};

inline Block*& block() {
  static thread_local Block* current = nullptr;
  return current;
}

inline Thread& thread() { return *block()->running; }

inline void wait_in(State state) {
  Thread& self = thread();
  self.state = state;
  swapcontext(&self.context, &block()->scheduler);
}

[[noreturn]] inline void fail(const char* why) {
  std::fprintf(stderr, "emulator: %s (block %u, thread %d)\n", why, block()->index.x, thread().number);
  std::abort();
}

inline void run_fiber() {
  (*block()->body)();
  thread().state = State::kDone;
  swapcontext(&thread().context, &block()->scheduler);
}

// Lets the threads [first, last) go on if all that are not done wait for each other; true if any could.
inline bool release(std::vector<Thread>& threads, size_t first, size_t last, State state) {
  size_t waiting = 0, done = 0;
  for (size_t i = first; i < last; ++i) {
    waiting += threads[i].state == state;
    done += threads[i].state == State::kDone;
  }
  if (waiting == 0 || waiting + done < last - first) return false;
  if (done) fail("a thread ended while others wait for it at a barrier");
  for (size_t i = first; i < last; ++i) threads[i].state = State::kReady;
  return true;
}

// Runs one warp as far as it comes without the others: past its own barriers. Returns how many threads ended.
inline size_t run_warp(Block& self, size_t first, size_t last, bool reversed) {
  size_t done = 0;
  do {
    for (size_t step = 0; step < last - first; ++step) {
      Thread& next = self.threads[reversed ? last - 1 - step : first + step];
      if (next.state != State::kReady) continue;
      self.running = &next;
      swapcontext(&self.scheduler, &next.context);
      done += next.state == State::kDone;
    }
  } while (release(self.threads, first, last, State::kAtWarpBarrier));
  return done;
}

inline void run_block(Block& self, bool reversed) {
  const size_t count = self.threads.size(), warps = (count + kWarp - 1) / kWarp;
  for (size_t done = 0; done < count;) {
    for (size_t step = 0; step < warps; ++step) {
      const size_t first = kWarp * (reversed ? warps - 1 - step : step);
      done += run_warp(self, first, std::min(first + kWarp, count), reversed);
    }
    const bool released = release(self.threads, 0, count, State::kAtBlockBarrier);
    if (!released && done < count) fail("threads wait for each other at different barriers");
  }
}

// A thread that begins at the block's body when it is first let run.
inline void start(Thread& thread, unsigned number, unsigned char* stack) {
  thread = Thread();
  thread.index.x = number;
  thread.number = int(number);
  getcontext(&thread.context);
  thread.context.uc_stack.ss_sp = stack;
  thread.context.uc_stack.ss_size = kStack;
  thread.context.uc_link = nullptr;
  makecontext(&thread.context, run_fiber, 0);
}

// Shared memory: aligned as a GPU's, and followed by bytes that nobody may touch.
class SharedMemory {
 public:
  explicit SharedMemory(size_t bytes) : bytes_(bytes), memory_(bytes + kAlignment + kGuard) {
    start_ =
        memory_.data() + (kAlignment - reinterpret_cast<uintptr_t>(memory_.data()) % kAlignment) % kAlignment;
  }
  unsigned char* start() const { return start_; }
  void clear() { std::memset(start_, 0xFF, bytes_ + kGuard); }  // NaN, as float and as half
  void check() const {
    for (size_t i = 0; i < kGuard; ++i) {
      if (start_[bytes_ + i] != 0xFF) fail("shared memory was written past its end");
    }
  }

 private:
  static constexpr size_t kAlignment = 128, kGuard = 1024;
  const size_t bytes_;
  std::vector<unsigned char> memory_;
  unsigned char* start_;
};

// Runs `body` for every thread of a grid of `blocks` blocks; `body` is given the block's shared memory.
inline void launch(unsigned blocks, unsigned threads, size_t shared_bytes,
    const std::function<void(unsigned char*)>& body, bool reversed = false) {
  Block self;
  self.grid.x = blocks;
  self.grid.y = self.grid.z = 1;
  self.size.x = threads;
  self.size.y = self.size.z = 1;
  self.threads.resize(threads);
  self.stacks.reset(new unsigned char[threads * kStack]);  // not filled: most of it is never touched
  block() = &self;
  SharedMemory shared(shared_bytes);
  const std::function<void()> call = [&] { body(shared.start()); };
  self.body = &call;
  for (self.index.x = 0; self.index.x < blocks; ++self.index.x) {
    shared.clear();
    for (unsigned i = 0; i < threads; ++i) start(self.threads[i], i, self.stacks.get() + i * kStack);
    run_block(self, reversed);
    shared.check();
  }
  block() = nullptr;
}

// How kernels are run; tests change it.
struct Options {
  int threads = 64;       // of a block, for kernels that leave it open
  bool reversed = false;  // the order in which threads run
};

inline Options& options() {
  static Options all;
  return all;
}

// Hands every lane the values of all lanes of its warp; no lane goes on before all have read them.
template <typename Value, typename Read>
inline void exchange(const Value& value, const Read& read) {
  static_assert(sizeof(Value) <= sizeof(Thread::exchange));
  Thread& self = thread();
  std::memcpy(self.exchange, &value, sizeof(Value));
  wait_in(State::kAtWarpBarrier);
  const int first = self.number / kWarp * kWarp;
  Value all[kWarp];
  for (int lane = 0; lane < kWarp; ++lane)
    std::memcpy(&all[lane], block()->threads[first + lane].exchange, sizeof(Value));
  read(all, self.number % kWarp);
  wait_in(State::kAtWarpBarrier);
}

}  // namespace pssdet::emulator

#define threadIdx (::pssdet::emulator::thread().index)
#define blockIdx (::pssdet::emulator::block()->index)
#define gridDim (::pssdet::emulator::block()->grid)
#define blockDim (::pssdet::emulator::block()->size)

inline void __syncthreads() { ::pssdet::emulator::wait_in(::pssdet::emulator::State::kAtBlockBarrier); }
inline void __syncwarp() { ::pssdet::emulator::wait_in(::pssdet::emulator::State::kAtWarpBarrier); }

// Exchanges within a warp: of all its lanes, no others are emulated.
namespace pssdet::emulator {
inline void expect_whole_warp(unsigned lanes) {
  if (lanes != 0xFFFFFFFFu) fail("an exchange among some lanes of a warp only");
}
}  // namespace pssdet::emulator

inline unsigned __ballot_sync(unsigned lanes, int vote) {
  ::pssdet::emulator::expect_whole_warp(lanes);
  unsigned votes = 0;
  ::pssdet::emulator::exchange(vote, [&](const int* all, int) {
    for (int lane = 0; lane < ::pssdet::emulator::kWarp; ++lane) votes |= unsigned(all[lane] != 0) << lane;
  });
  return votes;
}

inline unsigned __shfl_sync(unsigned lanes, unsigned value, int from) {
  ::pssdet::emulator::expect_whole_warp(lanes);
  unsigned got = 0;
  ::pssdet::emulator::exchange(
      value, [&](const unsigned* all, int) { got = all[from % ::pssdet::emulator::kWarp]; });
  return got;
}

// A lane that would look past the last one keeps its own value.
inline unsigned __shfl_down_sync(unsigned lanes, unsigned value, unsigned by) {
  ::pssdet::emulator::expect_whole_warp(lanes);
  unsigned got = value;
  ::pssdet::emulator::exchange(value, [&](const unsigned* all, int lane) {
    if (unsigned(lane) + by < unsigned(::pssdet::emulator::kWarp)) got = all[unsigned(lane) + by];
  });
  return got;
}

// Threads give way at barriers only, so nothing comes between the reading and the writing.
inline unsigned atomicAdd(unsigned* to, unsigned value) {
  const unsigned before = *to;
  *to += value;
  return before;
}
inline unsigned atomicOr(unsigned* to, unsigned value) {
  const unsigned before = *to;
  *to |= value;
  return before;
}

// Functions of their own: a C++ compiler joins operations within one expression at most.
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }  // 1 for the lowest bit, 0 if there is none

inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}
inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct float2 {
  float x, y;
};
inline uint4 __ldg(const uint4* from) { return *from; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

// IEEE binary16 as bits; conversions round to nearest even, as the GPU's do.
struct half {
  uint16_t bits;
};
struct alignas(4) half2 {
  half x, y;
};

inline float __half2float(half value) {
  const uint32_t sign = uint32_t(value.bits & 0x8000u) << 16, exponent = (value.bits >> 10) & 31u,
                 fraction = value.bits & 1023u;
  if (exponent == 0) return (sign ? -1.0f : 1.0f) * std::ldexp(float(fraction), -24);
  const uint32_t bits = sign | (exponent == 31 ? 0x7F800000u : (exponent + 112) << 23) | fraction << 13;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

inline half __float2half_rn(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  const uint16_t sign = uint16_t(bits >> 16 & 0x8000u);
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return {uint16_t(sign | 0x7FFFu)};
  if (magnitude >= 65520.0f) return {uint16_t(sign | 0x7C00u)};
  // Below 2^-14 halves are multiples of 2^-24; above, of 2^-10 of their power of two. nearbyint rounds to even.
  int power = -14;
  if (magnitude >= 6.103515625e-05f) power = std::ilogb(magnitude);
  const auto steps = uint32_t(std::nearbyint(std::ldexp(magnitude, 10 - power)));
  return {uint16_t(sign | (uint32_t(power + 14) * 1024u + steps))};
}

inline float2 __half22float2(half2 value) { return {__half2float(value.x), __half2float(value.y)}; }
inline half2 __floats2half2_rn(float x, float y) { return {__float2half_rn(x), __float2half_rn(y)}; }
