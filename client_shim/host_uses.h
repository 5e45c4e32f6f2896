// HostUses: where this process's page-locked memory is, and what of ours is at work in it.
//
//   if (uses.may_be_given(word)) …                       // a kernel's parameter may point into it
//   HostUses::Use use(uses, host, bytes);                // around a copy that touches such memory
//   HostUses::Change change(uses, address, bytes);       // no Use of it lives while this does
//
// Such memory becomes the device's as well when a kernel is first given it (reach.h). From then on
// its pages are closed now and then, and whoever touches a closed page waits for the pager
// (pager.h), who needs the link: a copy that holds the link, or is the one to receive for all, must
// not. So a copy asks whether its memory is mirrored only while it holds a Use, and memory becomes
// mirrored only while nobody does.
// A Change waits for the Uses of the same memory, so for copies that may wait for a stream; and it
// comes to its turn however many threads go on copying: a thread that holds no Use waits behind it.
// A Use costs two looks at an address where there is no such memory around it.
// Owner: Allocations.  Threads: any. Its lock is a leaf, and held over nothing; a Use may be held
// over a round trip, and inside another one of its thread, and ends on the thread that began it.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <list>
#include <utility>
#include <vector>

#include "transport/base/guarded.h"

namespace farcall::shim {

class HostUses {
 public:
  // What lies between the lowest and the highest address of some memory; it only grows.
  class Span {
   public:
    void add(std::uint64_t address, std::uint64_t bytes) {
      widen(first_, address, [](std::uint64_t now, std::uint64_t to) { return to < now; });
      widen(end_, address + bytes, [](std::uint64_t now, std::uint64_t to) { return to > now; });
      count_.fetch_add(1, std::memory_order_release);
    }
    void drop() { count_.fetch_sub(1, std::memory_order_relaxed); }
    bool any() const { return count_.load(std::memory_order_acquire) != 0; }
    bool holds(std::uint64_t address) const { return meets(address, address); }
    bool meets(std::uint64_t first, std::uint64_t last) const {
      return last >= first_.load(std::memory_order_relaxed) &&
             first < end_.load(std::memory_order_relaxed) && any();
    }

   private:
    template <class Further>
    static void widen(std::atomic<std::uint64_t>& border, std::uint64_t to, Further further) {
      std::uint64_t now = border.load(std::memory_order_relaxed);
      while (further(now, to) && !border.compare_exchange_weak(now, to)) {
      }
    }
    std::atomic<std::uint64_t> first_{UINT64_MAX};
    std::atomic<std::uint64_t> end_{0};
    std::atomic<std::size_t> count_{0};
  };

  // Of cuMemHostAlloc: kernels may be given its address as it is.
  Span& allocated() { return allocated_; }
  // Of cuMemHostRegister: the program's own, anywhere.
  Span& registered() { return registered_; }
  bool may_be_given(std::uint64_t address) const { return allocated_.holds(address); }

  struct Range {
    Range(const void* host, std::uint64_t bytes)
        : Range(reinterpret_cast<std::uint64_t>(host), bytes) {}
    Range(std::uint64_t address, std::uint64_t bytes)
        : first(address),
          last(bytes - 1 > UINT64_MAX - address ? UINT64_MAX : address + bytes - 1) {}
    bool meets(const Range& other) const { return first <= other.last && other.first <= last; }
    bool operator==(const Range&) const = default;
    std::uint64_t first, last;
  };
  // What a Change has taken for itself, and whether it has all of it.
  struct Claim {
    Range range;
    bool is_alone = false;
  };
  // bytes: not 0.
  class Use {
   public:
    Use(HostUses& uses, const void* host, std::uint64_t bytes)
        : range_(host, bytes), uses_(uses.is_near(range_) ? &uses : nullptr) {
      if (uses_ != nullptr) uses_->begin(range_);
    }
    ~Use() { end(); }
    // The memory is touched no more.
    void end() {
      if (HostUses* uses = std::exchange(uses_, nullptr)) uses->finish(range_);
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    const Range range_;
    HostUses* uses_;
  };
  // By a thread that holds no Use.
  class Change {
   public:
    Change(HostUses& uses, std::uint64_t address, std::uint64_t bytes);
    ~Change();
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;

   private:
    HostUses& uses_;
    std::list<Claim>::iterator claim_;
  };

 private:
  struct State {
    std::vector<Range> uses;
    std::list<Claim> claims;  // apart from each other
  };
  bool is_near(const Range& range) const {
    return allocated_.meets(range.first, range.last) || registered_.meets(range.first, range.last);
  }
  void begin(const Range& range);
  void finish(const Range& range);

  Span allocated_;
  Span registered_;
  Guarded<State> state_;
  std::condition_variable changed_;
};

}  // namespace farcall::shim
