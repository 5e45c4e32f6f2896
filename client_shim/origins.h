// Origins: which call a failure comes from, when another call reports it.
//
//   origins.launched(function, call);                  // a launch has left with this call number
//   origins.report(earlier, {"cuCtxSynchronize", 820});
//   → cuLaunchKernel(saxpy) failed earlier (call 812): CUDA_ERROR_INVALID_HANDLE; reported by
//     cuCtxSynchronize (call 820)
//
// A call that nobody waits for leaves its failure with its thread on the server, whose next reply
// carries it (failed_earlier in transport/api/hand.h); the program sees an error of a call that did
// nothing wrong. So the log names the one that did, at warn. A kernel that faults while it runs is
// another matter: no device says which one it was, so the log names the kernels launched last.
// Owner: one per client.  Threads: any.  Kernel names go to the log of the program's own process,
// and nowhere else.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <string>

#include "client_shim/functions.h"
#include "transport/api/hand.h"
#include "transport/base/guarded.h"
#include "transport/base/limits.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::shim {

// The call that a program got a failure from.
struct Reporter {
  const char* name;
  std::uint32_t call;
};

class Origins {
 public:
  explicit Origins(Functions& functions) : functions_(functions) {}

  // No lock: a thread that has just launched must not wait for one that reports.
  void launched(std::uint64_t function, std::uint32_t call) {
    Slot& slot = recent_[call % recent_.size()];
    // In this order, so that a reader that finds `call` twice has read the function between.
    slot.call.store(0, std::memory_order_relaxed);
    slot.function.store(function, std::memory_order_release);
    slot.call.store(call, std::memory_order_release);
  }

  // Counts it, and says it in the log.
  void report(const api::hand::FailedEarlier& earlier, const Reporter& reporter);
  // A context has faulted, and this call was the first to hear of it.
  void report_fault(CUresult fault, const Reporter& reporter);

  // How many failures were reported by other calls, by the function that failed.
  std::map<std::string, std::uint64_t> counts() const { return *counts_.lock(); }

 private:
  struct Slot {
    std::atomic<std::uint32_t> call{0};
    std::atomic<std::uint64_t> function{0};
  };
  std::string kernel_name(std::uint64_t function);
  // "saxpy (call 811), relu (call 809)": up to four, the latest first; of those up to call `last`.
  std::string launched_last(std::uint32_t last);

  Functions& functions_;
  std::array<Slot, limits::kRecentCalls> recent_;
  mutable Guarded<std::map<std::string, std::uint64_t>> counts_;
};

}  // namespace farcall::shim
