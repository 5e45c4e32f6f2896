// Mutex and Guarded<T>: shared data that cannot be reached without its lock.
//
//   Guarded<std::map<Id, Entry>> entries_;
//   entries_.lock()->emplace(id, entry);          // held for this statement
//   auto held = entries_.lock(); held->size();    // held for this scope
//
// Threads: any.  Never hold one over I/O. Clang's -Wthread-safety checks Mutex uses; Guarded makes
// the check unnecessary by construction. Lock order is written in each folder's README.
#pragma once
#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#  define FARCALL_TSA(x) __attribute__((x))
#else
#  define FARCALL_TSA(x)
#endif
#define FARCALL_GUARDED_BY(m) FARCALL_TSA(guarded_by(m))
#define FARCALL_REQUIRES(m) FARCALL_TSA(requires_capability(m))
#define FARCALL_EXCLUDES(m) FARCALL_TSA(locks_excluded(m))

namespace farcall {

class FARCALL_TSA(capability("mutex")) Mutex {
 public:
  void lock() FARCALL_TSA(acquire_capability()) { mutex_.lock(); }
  void unlock() FARCALL_TSA(release_capability()) { mutex_.unlock(); }
  bool try_lock() FARCALL_TSA(try_acquire_capability(true)) { return mutex_.try_lock(); }

 private:
  std::mutex mutex_;
};

class FARCALL_TSA(scoped_lockable) Lock {
 public:
  explicit Lock(Mutex& mutex) FARCALL_TSA(acquire_capability(mutex)) : mutex_(mutex) {
    mutex_.lock();
  }
  ~Lock() FARCALL_TSA(release_capability()) { mutex_.unlock(); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  Mutex& mutex_;
};

template <class T>
class Guarded {
 public:
  class Held {
   public:
    Held(T& value, std::mutex& mutex) : lock_(mutex), value_(value) {}
    T* operator->() { return &value_; }
    T& operator*() { return value_; }
    // Waits on `changed` with the lock released, as std::condition_variable::wait does.
    template <class Until>
    void wait(std::condition_variable& changed, Until until) {
      changed.wait(lock_, [&] { return until(value_); });
    }
    // The same for at most `ms`; false when they have passed without it.
    template <class Until>
    bool wait_for(std::condition_variable& changed, int ms, Until until) {
      return changed.wait_for(lock_, std::chrono::milliseconds(ms), [&] { return until(value_); });
    }

   private:
    std::unique_lock<std::mutex> lock_;
    T& value_;
  };
  Guarded() = default;
  explicit Guarded(T value) : value_(std::move(value)) {}
  Held lock() { return Held(value_, mutex_); }

 private:
  std::mutex mutex_;
  T value_;
};

}  // namespace farcall
