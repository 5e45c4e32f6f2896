#include "client_shim/faults.h"

#include <signal.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <utility>

#include "transport/base/guarded.h"

namespace farcall::shim {
namespace {

std::atomic<Resolve> g_resolve{nullptr};
static_assert(std::atomic<Resolve>::is_always_lock_free, "read in a signal handler");

// What was there before us, each time that ours went in front. Never freed: a handler of another
// thread may be reading it.
//
// Each time it is another function that goes in. A program's handler that came in between has kept
// the one before it, and hands that what is not its own: so the call arrives where what is earlier
// still is known, and never goes in a circle. The last is used again, with which it may.
constexpr std::size_t kSlots = 16;
std::atomic<const struct sigaction*> g_earlier[kSlots];

enum class Touch : std::uint8_t { kRead, kWrite, kFetch };  // kFetch: of an instruction

Touch touch_of(const void* context) {
#if defined(__x86_64__)
  constexpr greg_t kWrite = 2;  // bits of the page fault's error code
  constexpr greg_t kFetch = 16;
  const greg_t error = static_cast<const ucontext_t*>(context)->uc_mcontext.gregs[REG_ERR];
  if ((error & kFetch) != 0) return Touch::kFetch;
  return (error & kWrite) != 0 ? Touch::kWrite : Touch::kRead;
#else
  static_cast<void>(context);
  return Touch::kWrite;
#endif
}

// The kernel does what it does without a handler, when the touch is repeated.
void end_by_default(int number) {
  struct sigaction plain {};
  plain.sa_handler = SIG_DFL;
  ::sigaction(number, &plain, nullptr);
}

void pass_on(std::size_t slot, int number, siginfo_t* info, void* context) {
  const struct sigaction* earlier = g_earlier[slot].load(std::memory_order_acquire);
  if (earlier != nullptr && (earlier->sa_flags & SA_SIGINFO) != 0) {
    earlier->sa_sigaction(number, info, context);
  } else if (earlier == nullptr || earlier->sa_handler == SIG_DFL ||
             earlier->sa_handler == SIG_IGN) {
    end_by_default(number);
  } else {
    earlier->sa_handler(number);
  }
}

template <std::size_t kSlot>
void on_fault(int number, siginfo_t* info, void* context) {
  const int error = errno;
  Resolve resolve = g_resolve.load(std::memory_order_acquire);
  Fault fault = Fault::kNotOurs;
  // Nothing of ours is ever executed: a jump there faults again, however open the page is.
  const Touch touch = touch_of(context);
  if (resolve != nullptr && info->si_code == SEGV_ACCERR && touch != Touch::kFetch) {
    fault = resolve(info->si_addr, touch == Touch::kWrite);
  }
  if (fault == Fault::kLost) {
    ::raise(SIGBUS);
    end_by_default(number);  // its handler has returned: there is nothing to go on with
  }
  if (fault == Fault::kNotOurs) pass_on(kSlot, number, info, context);
  errno = error;
}

using Handler = void (*)(int, siginfo_t*, void*);
template <std::size_t... kSlot>
constexpr std::array<Handler, sizeof...(kSlot)> handlers(std::index_sequence<kSlot...>) {
  return {on_fault<kSlot>...};
}
constexpr auto kHandlers = handlers(std::make_index_sequence<kSlots>());

bool is_ours(const struct sigaction& action) {
  return (action.sa_flags & SA_SIGINFO) != 0 &&
         std::find(kHandlers.begin(), kHandlers.end(), action.sa_sigaction) != kHandlers.end();
}

// The one that stands in front of this, or a free one.
std::size_t slot_behind(const struct sigaction& action) {
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    const struct sigaction* known = g_earlier[slot].load(std::memory_order_relaxed);
    const bool is_it = known != nullptr && known->sa_flags == action.sa_flags &&
                       known->sa_sigaction == action.sa_sigaction;
    if (known == nullptr || is_it) return slot;
  }
  return kSlots - 1;
}

}  // namespace

void catch_faults(Resolve resolve) {
  static Mutex* const installing = new Mutex;
  g_resolve.store(resolve, std::memory_order_release);
  Lock lock(*installing);
  struct sigaction now {};
  if (::sigaction(SIGSEGV, nullptr, &now) != 0 || is_ours(now)) return;
  const std::size_t slot = slot_behind(now);
  const struct sigaction* known = g_earlier[slot].load(std::memory_order_relaxed);
  if (known == nullptr || known->sa_sigaction != now.sa_sigaction) {
    g_earlier[slot].store(new struct sigaction(now), std::memory_order_release);
  }
  struct sigaction ours {};
  ours.sa_sigaction = kHandlers[slot];
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  ::sigemptyset(&ours.sa_mask);
  ::sigaction(SIGSEGV, &ours, nullptr);
}

void ignore_faults() { g_resolve.store(nullptr, std::memory_order_release); }

}  // namespace farcall::shim
