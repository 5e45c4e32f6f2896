// CallSites: from where in the program a call came, cheaply enough to ask at every call.
//
//   SiteCache cache;                                     // one for each thread
//   std::uint16_t site = sites.find(cache, function, this);
//
// The stack is unwound once for each way to a function. Later calls with the same frame address
// only look whether the same return addresses still lie where they were found, which costs a few
// loads and is exact: another caller has put another address there.
// Kept are the first frames outside this library, so that a reader of the trace can step over the
// CUDA runtime to the library that called it.
// Owner: one per trace.  Threads: any; a SiteCache belongs to one.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "client_shim/trace_format.h"
#include "transport/base/guarded.h"

namespace farcall::shim {

// What one thread has found. About 40 KiB.
struct SiteCache {
  static constexpr std::size_t kEntries = 256;
  struct Entry {
    const void* frame = nullptr;
    std::uint16_t function = 0;
    std::uint16_t site = 0;
    std::uint32_t frames = 0;
    std::array<const void* const*, kTraceFrames> slots{};  // on this thread's stack
    std::array<const void*, kTraceFrames> addresses{};     // what they held
  };
  std::array<Entry, kEntries> entries{};
};

class CallSites {
 public:
  // own: any address in the library whose frames are stepped over; null: none are.
  explicit CallSites(const void* own);

  // frame: an object of the calling function's, the same for the same way through this library.
  // 0 when the caller cannot be found, or all limits::kTraceSitesMax are taken.
  std::uint16_t find(SiteCache& cache, std::uint16_t function, const void* frame);

  // What has been found since the last call. Threads: one.
  struct News {
    std::vector<TraceSite> sites;
    std::vector<std::string> modules;  // in order of their index, from `first_module` on
    std::uint32_t first_module = 0;
  };
  News news();

 private:
  struct Module {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    std::uintptr_t base = 0;
    std::string path;
  };
  struct State {
    std::vector<Module> modules;
    std::vector<TraceSite> sites;
    std::size_t sites_told = 0;
    std::size_t modules_told = 0;
  };
  std::uint16_t learn(SiteCache::Entry& entry);
  static const Module* module_of(State& state, const void* address);

  Guarded<State> state_;
  std::uintptr_t own_begin_ = 0;
  std::uintptr_t own_end_ = 0;
};

}  // namespace farcall::shim
