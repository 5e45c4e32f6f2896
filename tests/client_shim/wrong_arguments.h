// Calls of any function of the driver API with made-up arguments, through any libcuda.so.1.
//
//   Objects objects(driver);
//   objects.make();                                       // in the current context
//   for (const AnyFunction& f : every_function()) {
//     CUresult told = f.call(find(f.name), kWay, objects);
//   }
//
// The arguments are made from the prototypes, so a new function needs no line here. What pointers
// point to lies before a page that nobody may touch: a call that reads or writes more than a struct
// of CUDA's does not go unnoticed.
// Owner: the test.  Threads: one.
#pragma once
#include <cstdint>
#include <span>
#include <tuple>
#include <type_traits>

#include "transport/api/driver.h"
#include "transport/api/words.h"

namespace farcall::shim {

enum class Handles { kNull, kMadeUp, kLive, kStale, kForeign };
// kExact: what they point to ends at the forbidden page; good for numbers that are 1.
enum class Pointers { kNull, kZeros, kExact };

// One way to call any function.
struct Way {
  const char* name;
  std::uint64_t number;  // every number, cut to its type
  Pointers pointers = Pointers::kZeros;
  Handles handles = Handles::kLive;  // device addresses are handles here
  bool wild_addresses = false;       // … unless this is set: then they are that number, too
};

// One object of each kind.
using ObjectSet =
    std::tuple<CUcontext, CUmodule, CUfunction, CUlibrary, CUkernel, CUstream, CUevent, CUarray,
               CUmipmappedArray, CUmemoryPool, CUgraph, CUgraphNode, CUgraphExec, CUlinkState,
               CUuserObject, CUgreenCtx, CUdevResourceDesc, CUdeviceptr>;

class Objects {
 public:
  explicit Objects(const api::Driver& driver) : driver_(driver) {}
  // Destroys what is left of the last ones, and makes new ones in the current context.
  void make();
  // A second set, destroyed again.
  void make_stale();
  // Leaves the last ones alone: their context is gone.
  void forget() { live_ = {}; }

  template <class T>
  T handle(Handles which) const {
    if (which == Handles::kNull) return T{};
    if constexpr (is_made<T>()) {
      if (which == Handles::kLive) return std::get<T>(live_);
      if (which == Handles::kStale) return std::get<T>(stale_);
      if (which == Handles::kForeign) return (T)foreign<T>();
    }
    return (T)kMadeUp;
  }
  CUfunction faulting() const { return faulting_; }

 private:
  static constexpr std::uintptr_t kMadeUp = 0xdead0000;
  template <class T>
  static constexpr bool is_made() {
    return []<class... M>(std::tuple<M...>*) {
      return (std::is_same_v<T, M> || ...);
    }(static_cast<ObjectSet*>(nullptr));
  }
  // A live handle of another kind, for an address one of the host.
  template <class T>
  std::uintptr_t foreign() const {
    if constexpr (std::is_same_v<T, CUdeviceptr>) return reinterpret_cast<std::uintptr_t>(this);
    if constexpr (std::is_same_v<T, CUevent>) return (std::uintptr_t)std::get<CUgraph>(live_);
    return (std::uintptr_t)std::get<CUevent>(live_);
  }
  ObjectSet create();
  void destroy(const ObjectSet& set);

  const api::Driver& driver_;
  ObjectSet live_{};
  ObjectSet stale_{};
  CUfunction faulting_ = nullptr;
};

struct AnyFunction {
  const char* name;
  CUresult (*call)(void* function, const Way& way, const Objects& objects);
};
// All of transport/api but what is refused.
std::span<const AnyFunction> every_function();

}  // namespace farcall::shim
