// Mirrors: memory that the program and the device both touch by its address: managed memory
// (cuMemAllocManaged, __managed__ variables) and host memory that is mapped for the device.
//
//   CUresult placed = client.mirrors().place({address, address, bytes, context, …});
//   if (CUresult bad = client.mirrors().lend(stream)) return bad;       // before a launch
//   client.mirrors().settle(launches, true);                            // after a wait
//
// The device's memory is on the server; pages of this process at the same address stand for it.
// Each block is current on one side or on both (page_states.h). Before anything starts on the
// device that may touch it, what the program wrote goes there, and the program's pages are closed;
// a touch of a closed page fetches it (faults.h, pager.h). So the program sees what the device
// wrote once it has waited for it, which is what CUDA promises where
// CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS is 0, as here.
//
// What a program fetched while work it had not waited for was under way (legal for mapped memory)
// is fetched again after the next wait or query. What it wrote to mapped memory meanwhile goes to
// the device before the next launch, wait or query, because a kernel may be waiting for it; only
// what it changed goes, so that nothing is lost that the device wrote beside it.
// Owner: Client; leaked with it.  Threads: any. Bytes are moved by the pager's thread alone, which
// waits for the server; nothing is locked meanwhile but the waiting callers themselves.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "client_shim/faults.h"
#include "client_shim/mirror_memory.h"
#include "client_shim/page_states.h"
#include "client_shim/pager.h"
#include "transport/api/caller.h"
#include "transport/base/guarded.h"
#include "transport/base/secure_arena.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::shim {

class Client;

class Mirrors {
 public:
  enum class Access : std::uint8_t {
    kAll,     // of every stream
    kHost,    // of the program only (CU_MEM_ATTACH_HOST)
    kStream,  // of one stream (CU_MEM_ATTACH_SINGLE)
  };
  struct Place {
    std::uint64_t address = 0;  // where the program looks for it
    std::uint64_t device = 0;   // where the device does
    std::size_t bytes = 0;
    CUcontext context = nullptr;
    PageState state = PageState::kFresh;
    Access access = Access::kAll;
    std::uint64_t base = 0;  // what the driver knows it by, where that is not `device`
    bool is_host = false;    // host memory, mapped for the device
    bool replaces = false;   // there is memory of the program's at the address: its bytes are kept
    bool is_chosen = false;  // the device's memory is of chosen_address.h
  };
  // Where a part of mirrored memory is for the device.
  struct Spot {
    std::uint64_t device = 0;
    bool is_host = false;
    bool is_chosen = false;
    std::uint64_t base = 0;  // what the driver frees it by
    CUcontext context = nullptr;
  };
  // A variable of a module or library.
  struct Variable {
    std::uint64_t address = 0;
    std::size_t bytes = 0;
    CUcontext context = nullptr;
    std::uint64_t owner = 0;
  };

  explicit Mirrors(Client& client);

  // Whether there is any at all: what everything else costs a program that has none.
  bool any() const { return count_.load(std::memory_order_relaxed) > 0; }

  // Errors: CUDA_ERROR_ALREADY_MAPPED when something of this process is at the address;
  // CUDA_ERROR_OUT_OF_MEMORY.
  // Where it replaces the program's pages, other threads may go on touching them.
  CUresult place(const Place& place);
  // The pages of a variable, which may share its first and last one with others.
  // Errors: as place, and the link's.
  CUresult place_variable(const Variable& variable);
  // Runs `work` on the pager's thread, in this context. There must be, or have been, a mirror.
  CUresult in_context(CUcontext context, FunctionRef<CUresult()> work);
  // Host memory becomes the program's own again, with the current bytes.
  //   fetches  whether what only the device has is fetched; else the program keeps what it had
  // Errors: the link's and the driver's; then it is mirrored still.
  CUresult restore(std::uint64_t address, bool fetches = true);
  // Forgets the one that begins at `address` and takes the program's pages away.
  void remove(std::uint64_t address);
  void drop_owner(std::uint64_t owner);
  // Of a context that has ended. Host memory that is mirrored there still is the program's own
  // again, and what the device had of it is lost.
  void drop_context(CUcontext context);
  // The host memory that is mirrored in a context.
  std::vector<Place> host_memory(CUcontext context);
  // cuStreamAttachMemAsync.  Errors: CUDA_ERROR_INVALID_VALUE when none begins there.
  CUresult attach(std::uint64_t address, Access access, CUstream stream);
  // What was attached to it is everybody's again.
  void stream_destroyed(CUstream stream);

  // Where the device has these bytes of the program's, if they are all mirrored.
  std::optional<Spot> find(std::uint64_t address, std::size_t bytes);
  // Whether any of these bytes of the program's is mirrored, whoever has the rest.
  bool touches(std::uint64_t address, std::size_t bytes);
  // What the driver frees the memory at this address by.
  std::uint64_t base_of(std::uint64_t address);
  // Whether a device range touches any.
  bool overlaps(std::uint64_t device, std::size_t bytes);

  // Before work starts on `stream` that may touch any of it; nothing when all is the device's.
  // Errors: the link's and the driver's; then nothing has changed.
  CUresult lend(CUstream stream);
  // The same for a call of this row, if it is one that starts such work; publish() for one that
  // waits for work or asks for it.
  CUresult lend_for(const api::RowInfo& row);
  // What the program wrote to mapped host memory while work was under way is the device's as well.
  // Errors: as lend.
  CUresult publish();
  // Before a copy or fill of a device range: all that overlaps it goes over; afterwards the program
  // may still read what it had, unless the device writes.
  CUresult lend_range(std::uint64_t device, std::size_t bytes, bool writes);
  // Opens these bytes for reading without waiting for touches.
  CUresult fetch(std::uint64_t address, std::size_t bytes);

  // Work started so far, to be read before a wait is sent.
  std::uint64_t launches() const { return launches_.load(std::memory_order_acquire); }
  // A wait or a query of that time has come back.  whole: nothing is under way any more.
  void settle(std::uint64_t launches, bool whole);

  // What a fault at `address` is; async-signal-safe.
  Fault resolve(std::uint64_t address, bool is_write);
  void abandon_in_child() { ignore_faults(); }

 private:
  // What of a mirror's pages is the device's: all, but for variables.
  struct Extent {
    std::size_t at = 0, bytes = 0;
    std::uint64_t owner = 0;
  };
  struct Mirror {
    Mirror(const Place& where, MirrorMemory pages)
        : place(where),
          memory(std::move(pages)),
          states(where.bytes, where.state),
          extents{{0, where.bytes, 0}} {}
    Place place;
    MirrorMemory memory;
    PageStates states;
    std::vector<Extent> extents;  // apart from each other
    CUstream stream = nullptr;    // Access::kStream
    bool is_early = false;        // fetched while work was under way
    // Blocks of mapped host memory that were opened for writing while work was under way, by where
    // they begin: what they held then.
    std::map<std::size_t, SecureBuffer> twins;
  };
  using All = std::map<std::uint64_t, std::shared_ptr<Mirror>>;  // by the program's address
  using Some = std::vector<std::shared_ptr<Mirror>>;

  // What a change of a mirror's states does to the count of all; while it lives.
  class HeldCount {
   public:
    HeldCount(Mirrors& all, const Mirror& mirror)
        : all_(all), mirror_(mirror), before_(mirror.states.held()) {}
    ~HeldCount() {
      if (mirror_.place.access == Access::kHost) return;
      all_.held_.fetch_add(mirror_.states.held() - before_, std::memory_order_relaxed);
    }
    HeldCount(const HeldCount&) = delete;
    HeldCount& operator=(const HeldCount&) = delete;

   private:
    Mirrors& all_;
    const Mirror& mirror_;
    const std::size_t before_;
  };
  static int page_rights(PageState state);

  // On any thread.
  CUresult start(Guarded<All>::Held& all);
  CUresult put(const Place& place);
  template <class Suits>
  Some matching(Suits suits);
  void drop(const Some& gone);

  // On the pager's thread.
  CUresult touched(std::uint64_t address, bool is_write);
  CUresult open(Mirror& mirror, const PageStates::Need& need);
  CUresult fill(Mirror& mirror, const PageStates::Run& run);
  CUresult flush(Mirror& mirror, std::size_t at, std::size_t bytes);
  void keep_twin(Mirror& mirror, const PageStates::Run& run);
  std::vector<MirrorMemory::Part> written(const Mirror& mirror, const PageStates::Run& run);
  CUresult send(Mirror& mirror, std::size_t at, std::size_t bytes, CUstream stream);
  CUresult add_variable(Mirror& mirror, const Variable& variable);
  CUresult hand_over(Mirror& mirror, std::size_t at, std::size_t bytes, bool writes);
  void show(const Mirror& mirror, std::size_t at, std::size_t bytes);
  CUresult enter(CUcontext context, CUstream* stream);

  Client& client_;
  Pager pager_;
  std::atomic<std::size_t> count_{0};
  std::atomic<std::size_t> held_{0};  // blocks the program may touch and the device may want
  std::atomic<std::uint64_t> launches_{0};
  std::atomic<std::uint64_t> settled_{0};
  std::atomic<bool> any_early_{false};
  std::atomic<bool> any_twins_{false};
  // Read in the signal handler: no mirror lies outside. They only move apart.
  std::atomic<std::uint64_t> lowest_{UINT64_MAX};
  std::atomic<std::uint64_t> highest_{0};
  Guarded<All> all_;
  std::optional<PageStore> store_;         // made with the first mirror, before the pager starts
  std::map<CUcontext, CUstream> streams_;  // the pager's own
};

}  // namespace farcall::shim
