// Contexts: what is known of every CUcontext of the session, so that the context functions, which
// CUDA programs call all the time, are answered here.
//
//   contexts.add(context, {ordinal, flags, is_primary});
//   std::optional<ContextFacts> facts = contexts.find(context);
//   bool first = contexts.retain_primary(ordinal);          // true: the server must be asked
//
// Owner: one per client.  Threads: any.  Never talks to the server.
#pragma once
#include <array>
#include <atomic>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "transport/base/guarded.h"
#include "transport/base/limits.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::shim {

struct ContextFacts {
  int ordinal = 0;
  unsigned flags = 0;
  bool is_primary = false;
  CUgreenCtx green = nullptr;  // of the view of a primary context that a green context has
};

class Contexts {
 public:
  void add(CUcontext context, ContextFacts facts);
  // It has ended. Where it may still be current somewhere, its calls fail with
  // CUDA_ERROR_CONTEXT_IS_DESTROYED from now on.
  void drop(CUcontext context, bool may_be_current);
  std::optional<ContextFacts> find(CUcontext context);
  // Green contexts and the device each is a part of.
  void add_green(CUgreenCtx green, int ordinal);
  std::optional<int> green_device(CUgreenCtx green);
  // The context that cuCtxFromGreenCtx gave for it; null when it was never asked for one.
  CUcontext drop_green(CUgreenCtx green);
  // Also of one that has ended.
  std::optional<int> ordinal(CUcontext context);
  // Another number than before when a context may have gone since.
  std::uint64_t version() const { return version_.load(std::memory_order_acquire); }

  // A fault of a kernel spoils its context for good: every later call of it gets the same error.
  // Other results are ignored.
  static bool is_fault(CUresult result);
  // True: nobody knew of it.
  bool note_result(CUcontext context, CUresult result);
  CUresult fault(CUcontext context) {
    return any_fault_.load(std::memory_order_relaxed) ? find_fault(context) : CUDA_SUCCESS;
  }
  // Whether no other context than this one is in use.
  bool is_alone(CUcontext context);
  // The primary context was reset.
  void clear_fault(CUcontext context);

  // Primary contexts are counted here; the server retains each at most once.
  // Resetting one ends it without releasing it: then it is retained and not active.
  struct Primary {
    int retains = 0;
    unsigned flags = 0;
    bool is_active = false;
  };
  Primary primary(int ordinal);
  void set_primary_flags(int ordinal, unsigned flags);
  // To be held over a change of the count and the message it calls for, so that the server hears of
  // first retains and last releases in the order they were counted. Recursive, because the end of
  // a context runs destructors of cudart's, which may call back.
  std::unique_lock<std::recursive_mutex> primary_turn(int ordinal) {
    return std::unique_lock(turns_[static_cast<std::size_t>(ordinal)]);
  }
  // True: it was not active, so the server must hear of it.
  bool retain_primary(int ordinal);
  // Returns the count after the change; -1 when there was nothing to release.
  int release_primary(int ordinal);
  // The primary context is gone, whoever retained it. Returns whether it was active.
  bool end_primary(int ordinal);

 private:
  struct State {
    std::unordered_map<CUcontext, ContextFacts> known;
    std::unordered_map<CUcontext, int> ended;  // ordinals of those that may still be current
    std::array<Primary, limits::kDevicesMax> primaries;
    std::unordered_map<CUcontext, CUresult> faults;
    std::unordered_map<CUgreenCtx, int> greens;
  };
  CUresult find_fault(CUcontext context);

  std::atomic<bool> any_fault_{false};
  std::atomic<std::uint64_t> version_{0};
  Guarded<State> state_;
  std::array<std::recursive_mutex, limits::kDevicesMax> turns_;
};

}  // namespace farcall::shim
