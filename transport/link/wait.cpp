#include "transport/link/wait.h"

#include <algorithm>
#include <cstdint>

#include "transport/base/clock.h"
#include "transport/base/switches.h"

namespace farcall::link {
namespace {

constexpr std::int64_t kSpinNs = 50'000;
constexpr int kFailedSpinsMax = 3;
constexpr int kBlocksWithoutSpin = 64;

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
    return ready();
  }
  const std::int64_t until_ns = system_clock().now_ns() + kSpinNs;
  do {
    if (ready()) {
      failed_ = 0;
      return true;
    }
    relax();
  } while (system_clock().now_ns() < until_ns);
  if (++failed_ >= kFailedSpinsMax) blocks_left_ = kBlocksWithoutSpin;
  return false;
}

}  // namespace farcall::link
