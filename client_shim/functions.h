// Functions: what a launch must know of a kernel: its parameters' sizes and its limits, as the
// server told them with the kernel's id.
//
//   functions.add(id, facts, owner);                       // owner: module or library
//   std::shared_ptr<const FunctionFacts> kernel = functions.find(id);     // null: no such kernel
//
// Parameters cross the wire by size, never by offset: offsets differ from GPU to GPU.
// Owner: one per client.  Threads: any.  Facts are shared, because a launch may outlive an unload
// by another thread; they change only by replacing them.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "transport/base/guarded.h"
#include "transport/base/status.h"
#include "transport/cuda/cuda_abi.h"
#include "transport/wire/reader.h"

namespace farcall::shim {

struct FunctionFacts {
  std::uint64_t id = 0;
  std::uint64_t owner = 0;  // module or library id
  std::string name;
  bool is_kernel = false;    // a CUkernel
  bool is_runtimes = false;  // of a library that the CUDA runtime loaded
  int ordinal = -1;          // the device that the attributes are for; -1: not known
  // [CUfunction_attribute]; api::hand::kNoAttribute where the driver cannot tell, or no more holds
  std::array<int, 16> attributes{};
  // -1 where the driver cannot tell.
  int max_threads = -1;  // per block
  int static_shared_bytes = -1;
  int max_dynamic_shared_bytes = -1;  // as set by cuFuncSetAttribute, else the default
  bool params_known = false;          // false: the server's driver is too old to tell
  std::vector<std::uint32_t> param_bytes;
  std::size_t total_param_bytes = 0;
};

using FunctionRefs = std::shared_ptr<const FunctionFacts>;

class Functions {
 public:
  // Says of functions that are added from here on, and belong to it, that they are the runtime's.
  void note_runtimes(std::uint64_t library) { state_.lock()->runtimes.insert(library); }
  void add(FunctionFacts facts);
  FunctionRefs find(std::uint64_t id);
  // The kernel of this name in a module or library, if it was asked for before; null if not.
  FunctionRefs find_named(std::uint64_t owner, const std::string& name);
  // An attribute that never changes, on the device `ordinal`; nothing where it must be asked for.
  std::optional<int> attribute(std::uint64_t id, CUfunction_attribute which, int ordinal);
  // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES was set.
  void set_max_dynamic_shared(std::uint64_t id, int bytes);
  void drop_owner(std::uint64_t owner);
  // Another number than before when any kernel may have changed or gone since.
  std::uint64_t version() const { return version_.load(std::memory_order_acquire); }

 private:
  struct State {
    std::unordered_map<std::uint64_t, FunctionRefs> by_id;
    std::unordered_map<std::string, std::uint64_t> by_name;  // owner and name, see key()
    std::unordered_set<std::uint64_t> runtimes;              // libraries
  };
  static std::string key(std::uint64_t owner, const std::string& name);
  // Called with the lock held, after the change.
  void changed() { version_.fetch_add(1, std::memory_order_release); }
  Guarded<State> state_;
  std::atomic<std::uint64_t> version_{0};
};

// The FunctionFacts part of a reply (transport/api/hand.h); fails `in` on a wrong one.
FunctionFacts parse_function(wire::Reader& in);

}  // namespace farcall::shim
