// LedgerDriver: a driver whose every allocation is charged to the lease before it is made.
//
//   LedgerDriver metered(library.driver(), ledger);
//   Executor executor(metered.driver(), session);      // and nothing uses the other one
//
// The wall stands at the driver's door, not at the API table: however a call gets there (a row made
// from the table, one by hand, the server for itself), it meets the same functions, with the
// arguments the driver is going to see. Only functions that have to do with device memory are in
// between (ledger_rows.def); all others are the driver's own, so that a launch or a copy costs
// nothing. What does not fit gets CUDA_ERROR_OUT_OF_MEMORY and the driver is not asked; what the
// driver refuses is given back at once. cuMemGetInfo and cuDeviceTotalMem tell of the lease: the
// total is its memory, free is what is not charged, so that a program which takes all that is free
// gets it. Without a limit of memory both tell what the driver says.
//
// What cannot be known before is asked afterwards: how much a pool holds on to, how wide a pitch
// is. A charge that does not fit is tried again once everything was asked (relieve).
// Owner: main. C functions have no place for a `this`, so there is one at a time in a process.
// Threads: any. Locks: `virtual_` and `pools_` are held over calls of the driver, which may take
// its time; `held_` and `graphs_` over none. None is taken while another is held.
// Known limits, in gpu_server/README.md: what a driver adds for local memory of kernels, and what
// it loses between small pieces, is not seen.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "gpu_server/ledger.h"
#include "transport/api/driver.h"
#include "transport/base/function_ref.h"
#include "transport/base/guarded.h"

namespace farcall::server {

// What an object of the driver is charged for.
struct Held {
  int device = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t image_bytes = 0;  // host memory for code
  CUcontext context = nullptr;    // it goes with this one; null: with none
};

struct PoolRequest {
  CUmemoryPool pool = nullptr;
  int device = 0;
  std::uint64_t bytes = 0;
};

using GraphBytes = std::map<int, std::uint64_t>;  // by device

// Objects that are found by what the driver calls them.
enum class HeldKind : unsigned { kPlain, kArray, kModule, kLibrary, kLink, kContext };
inline constexpr std::size_t kHeldKinds = 6;

class LedgerDriver {
 public:
  // Both are borrowed. The ledger is one that a worker joined, or made for itself.
  LedgerDriver(const api::Driver& real, Ledger& ledger);
  ~LedgerDriver();
  LedgerDriver(const LedgerDriver&) = delete;
  LedgerDriver& operator=(const LedgerDriver&) = delete;

  const api::Driver& driver() const { return metered_; }

  // --- for metered:: functions
  static LedgerDriver& get();
  const api::Driver& real() const { return real_; }
  Ledger& ledger() { return ledger_; }
  bool has_memory_limit() const { return ledger_.limits().memory_bytes != kNoLimit; }
  // Of the calling thread; null and 0 without a context.
  CUcontext context() const;
  int device() const;

  // True when the lease has room, if need be after asking the driver what it gave back meanwhile.
  bool charge(const Held& held);
  void give_back(const Held& held);

  // --- what is held, by what the driver calls it
  void keep(HeldKind kind, std::uint64_t name, const Held& held);
  std::optional<Held> take(HeldKind kind, std::uint64_t name);
  // Everything that was made in `context` has gone with it.
  void forget_context(CUcontext context);

  // Asks the driver what has come back meanwhile: freed memory, pools. Then makes it give back what
  // graphs no longer use, if `trim`.
  void settle(bool trim);

  // --- ledger_pools.cpp
  // Charges `bytes`, lets `make` have them from the pool, and then charges what the pool says.
  CUresult allocate_from_pool(const PoolRequest& request, CUdeviceptr* at,
                              FunctionRef<CUresult()> make);
  // Frees what is a pool's, or nobody's; at once, or once `stream` has got there.
  CUresult free_to_pool(CUdeviceptr at, bool later, CUstream stream);
  void pool_destroyed(CUmemoryPool pool);
  void settle_pools();
  // Memory that is free once `stream` has got there.
  void free_later(const Held& held, CUstream stream);

  // --- ledger_virtual.cpp
  struct Physical {
    Held held;
    ~Physical();
  };
  // Shared, because handles and mappings keep memory alive in any order.
  using PhysicalMemory = std::shared_ptr<Physical>;
  struct Virtual {
    struct Handles {
      PhysicalMemory memory;
      unsigned count = 0;
    };
    struct Mapping {
      std::uint64_t bytes = 0;
      PhysicalMemory memory;
    };
    std::unordered_map<CUmemGenericAllocationHandle, Handles> handles;
    std::map<CUdeviceptr, Mapping> mappings;
  };
  Guarded<Virtual>& virtual_memory() { return virtual_; }

  // --- ledger_objects.cpp
  // What a context takes of `device` beside what is made in it.
  std::uint64_t context_bytes();
  struct Primary {
    CUcontext context = nullptr;  // null while nobody has retained it
    unsigned retains = 0;
  };
  Guarded<std::map<int, Primary>>& primaries() { return primaries_; }

  // --- ledger_graphs.cpp
  void note_graph_memory() { graph_memory_ = true; }
  void note_capture() { captures_ = true; }
  // Is this stream being captured? Cheap before the first capture of the session.
  bool is_capturing(CUstream stream) const;
  // What the memory nodes of a graph allocate, by device. Empty unless any graph may have some.
  //   Errors: CUDA_ERROR_OUT_OF_MEMORY, when they alone are more than the lease has.
  CUresult graph_need(CUgraph graph, GraphBytes* need);
  void keep_graph(CUgraphExec exec, GraphBytes need);
  // Before a launch or an upload. False: the lease has no room for its memory nodes.
  bool charge_graph(CUgraphExec exec, CUstream stream);
  void forget_graph(CUgraphExec exec);
  void settle_graphs();

 private:
  struct Pool {
    int device = 0;
    std::uint64_t charged = 0;  // what it held on to when it was last asked
    std::uint64_t live = 0;     // what was handed out
  };
  struct PoolPiece {
    CUmemoryPool pool = nullptr;
    std::uint64_t bytes = 0;
    int device = 0;
  };
  struct Pools {
    std::unordered_map<CUmemoryPool, Pool> pools;
    std::unordered_map<CUdeviceptr, PoolPiece> pieces;
  };
  struct FreedLater {
    Held held;
    CUevent done = nullptr;
  };
  struct GraphMemory {
    GraphBytes need;
    bool is_charged = false;
  };
  struct Graphs {
    std::unordered_map<CUgraphExec, GraphMemory> execs;
    GraphBytes charged;  // those of destroyed graphs among them
  };
  void settle_pool(CUmemoryPool name, Pool& pool, std::uint64_t claimed);
  void settle_freed();
  bool charge_all(const GraphBytes& need);
  bool try_charge(const Held& held);

  const api::Driver& real_;
  api::Driver metered_;
  Ledger& ledger_;
  std::array<Guarded<std::unordered_map<std::uint64_t, Held>>, kHeldKinds> held_;
  Guarded<Pools> pools_;
  Guarded<std::vector<FreedLater>> freed_later_;
  Guarded<Virtual> virtual_;
  Guarded<Graphs> graphs_;
  Guarded<std::map<int, Primary>> primaries_;
  std::atomic<bool> graph_memory_{false};
  std::atomic<bool> captures_{false};
};

// A charge that is given back unless it is kept.
class Claim {
 public:
  Claim(LedgerDriver& meter, const Held& held) : meter_(meter), held_(held) {
    is_granted_ = meter.charge(held);
  }
  ~Claim() {
    if (is_granted_) meter_.give_back(held_);
  }
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;
  bool is_granted() const { return is_granted_; }
  const Held& held() const { return held_; }
  // The object exists.
  void keep(HeldKind kind, std::uint64_t name) {
    meter_.keep(kind, name, held_);
    is_granted_ = false;
  }
  void release() { is_granted_ = false; }

 private:
  LedgerDriver& meter_;
  const Held held_;
  bool is_granted_;
};

namespace metered {
#define METERED(F, WHAT) decltype(::F) F;
#define UNMETERED(F, WHY)
#include "gpu_server/ledger_rows.def"
#undef METERED
#undef UNMETERED
}  // namespace metered

// The driver's name for an object, as a number.
template <class T>
std::uint64_t name_of(T* object) {
  return reinterpret_cast<std::uintptr_t>(object);
}

}  // namespace farcall::server
