// Scrub: device memory is overwritten before it goes back to the driver, and proof of it.
//
//   Scrub scrub(library.driver(), Scrub::Mode::kVerify);
//   Executor executor(scrub.driver(), session);   // whatever it frees is overwritten first
//   …
//   log(scrub.outcome().to_text());
//
// A table of functions like the driver's, of which those that give and take back linear memory, and
// those that end contexts, do more. What is still there when its context ends is overwritten then
// and, in mode kVerify, read back; so the end of a session, which ends all contexts, leaves
// nothing. A driver that overwrites by itself what is freed (transport/cuda/wiped_memory.h, the
// software GPU) is told to, and does it for frees, variables of modules, arrays and all else that
// only a driver can reach. With others those are left to the driver: NVIDIA's clears what it takes
// back from a process, unless told not to (NVreg registry RMDisableScrubOnFree). Owner: a worker;
// one at a time in a process, because CUDA's functions have no room for a `this`. Threads: any.  A
// failure to overwrite is counted and logged; the memory is freed all the same.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <string>

#include "transport/api/driver.h"
#include "transport/base/clock.h"
#include "transport/base/guarded.h"
#include "transport/base/secure_arena.h"

namespace farcall::server {

class Scrub {
 public:
  enum class Mode : unsigned char {
    kOff,     // the driver gives memory back as it does
    kFree,    // overwrite
    kVerify,  // and read back what a session left
  };
  // "off", "free" or "verify".  Errors: kUnsupported.
  static Result<Mode> parse(const std::string& word);
  static const char* name_of(Mode mode);

  Scrub(const api::Driver& driver, Mode mode);
  ~Scrub();
  Scrub(const Scrub&) = delete;
  Scrub& operator=(const Scrub&) = delete;

  const api::Driver& driver() const { return wrapped_; }

  struct Outcome {
    std::uint64_t freed = 0;           // allocations overwritten as their owner freed them
    std::uint64_t freed_bytes = 0;     // of them
    std::uint64_t left = 0;            // allocations that a context still had at its end
    std::uint64_t left_bytes = 0;      // overwritten then
    std::uint64_t verified_bytes = 0;  // and read back as zeros
    std::uint64_t unread_bytes = 0;    // not read back: limits::kVerifyMs had passed
    std::uint64_t failures = 0;  // allocations that could not be overwritten, or were not zero
    bool by_driver = false;      // the driver overwrites what is freed
    std::string to_text() const;
  };
  Outcome outcome() const { return *books_.lock(); }
  // Goes up as long as the end of a context makes progress: a piece overwritten or read back.
  std::uint64_t steps() const { return steps_.load(std::memory_order_relaxed); }

 private:
  struct Allocation {
    std::size_t bytes = 0;
    CUcontext context = nullptr;
  };
  struct Memory {
    std::map<CUdeviceptr, Allocation> allocations;
    std::map<CUdevice, CUcontext> primary;
  };
  static Scrub*& self();
  bool ask_driver();
  void wrap_frees();
  void wrap_contexts();

  void note(CUresult made, const CUdeviceptr* address, std::size_t bytes);
  Allocation take(CUdeviceptr address);
  void keep(CUdeviceptr address, const Allocation& allocation);
  void count(CUresult done, std::size_t bytes);

  static CUresult allocate(CUdeviceptr* address, std::size_t bytes);
  static CUresult allocate_pitch(CUdeviceptr* address, std::size_t* pitch, std::size_t width,
                                 std::size_t height, unsigned element);
  static CUresult allocate_managed(CUdeviceptr* address, std::size_t bytes, unsigned flags);
  static CUresult allocate_async(CUdeviceptr* address, std::size_t bytes, CUstream stream);
  static CUresult allocate_from_pool(CUdeviceptr* address, std::size_t bytes, CUmemoryPool pool,
                                     CUstream stream);
  static CUresult free(CUdeviceptr address);
  static CUresult free_async(CUdeviceptr address, CUstream stream);
  static CUresult retain(CUcontext* context, CUdevice device);
  static CUresult release(CUdevice device);
  static CUresult reset(CUdevice device);
  static CUresult destroy(CUcontext context);

  // Overwrites everything that is left in a context, which is about to end.
  void scrub_context(CUcontext context);
  void scrub_primary(CUdevice device);
  void scrub_left(CUdeviceptr address, std::size_t bytes, Deadline deadline);
  CUresult overwrite(CUdeviceptr address, std::size_t bytes);
  // How many of the bytes have been read back before the deadline; -1: some are not zero.
  std::int64_t read_back(CUdeviceptr address, std::size_t bytes, Deadline deadline);

  const api::Driver& real_;
  const Mode mode_;
  api::Driver wrapped_;
  Guarded<Memory> memory_;
  mutable Guarded<Outcome> books_;
  std::atomic<std::uint64_t> steps_{0};
};

}  // namespace farcall::server
