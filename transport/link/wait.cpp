#include "transport/link/wait.h"

#include <algorithm>
#include <cstdint>

#include "transport/base/switches.h"

namespace farcall::link {
namespace {

constexpr std::int64_t kSpinNs = 50'000;
constexpr int kFailedSpinsMax = 3;
constexpr int kBlocksWithoutSpin = 64;
// A sleep that ends so soon, 30 µs of waking included, waited for what a spin would have seen.
constexpr std::int64_t kShortSleepNs = kSpinNs + 30'000;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

bool AdaptiveWait::spin(FunctionRef<bool()> ready) {
  if (blocks_left_ > 0 || !is_on(Switch::kSpin)) {
    blocks_left_ = std::max(0, blocks_left_ - 1);
    asleep_since_ns_ = clock_.now_ns();
    return ready();
  }
  const std::int64_t until_ns = clock_.now_ns() + kSpinNs;
  do {
    if (ready()) {
      failed_ = 0;
      return true;
    }
    relax();
  } while (clock_.now_ns() < until_ns);
  if (++failed_ >= kFailedSpinsMax) blocks_left_ = kBlocksWithoutSpin;
  asleep_since_ns_ = until_ns - kSpinNs;
  return false;
}

void AdaptiveWait::woke() {
  if (clock_.now_ns() - asleep_since_ns_ > kShortSleepNs) return;
  blocks_left_ = 0;
  failed_ = std::min(failed_, kFailedSpinsMax - 1);  // one vain spin is enough to sleep again
}

}  // namespace farcall::link
