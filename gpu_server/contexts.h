// Contexts: which CUDA context is current where, and the primary contexts of the devices.
//
//   FARCALL_TRY(contexts.open());
//   CUresult bound = contexts.bind(thread);       // before each call, on the thread that runs it
//
// A primary context has one id for the life of a session: the client may name it before it exists
// and after it was released, as it may locally. Our own threads change hands between client
// threads, so each call sets its context current first; the driver is asked only when it differs
// from what this thread had. Owner: a session.  Threads: any, after open().
#pragma once
#include <atomic>
#include <cstdint>
#include <unordered_set>
#include <vector>

#include "gpu_server/handle_table.h"
#include "gpu_server/thread_state.h"
#include "transport/api/driver.h"
#include "transport/base/guarded.h"

namespace farcall::server {

using api::Driver;

class Contexts {
 public:
  Contexts(const Driver& driver, HandleTable& table) : driver_(driver), table_(table) {}

  // Initialises the driver and reserves an id for every device's primary context. Idempotent.
  //   server  which of its servers we are to the client: marks all ids
  CUresult open(unsigned server = 0);
  int device_count() const { return static_cast<int>(primary_.size()); }
  std::uint64_t primary_id(int device) const { return primary_[static_cast<std::size_t>(device)]; }

  // The device's primary context; null while it is not retained.
  CUcontext primary(int device);
  // A primary context that is retained now?
  bool is_primary(CUcontext context);

  // Contexts that a green context gave: they are not ours to destroy.
  void note_view(CUcontext context);
  void forget_view(CUcontext context);
  bool is_view(CUcontext context);

  // Makes the client thread's context current on the calling thread, retaining a primary context
  // that is named for the first time. An id that is gone means no context.
  CUresult bind(const ThreadState& thread);

  // The client counts its own retains and sends only the first and the last.
  CUresult retain(int device);
  CUresult release(int device);
  // Gives back whatever is retained. For the end of a session.
  void release_all();
  // A context has been destroyed or reset: nobody's idea of what is current holds any longer.
  void forget_current() { epoch_.fetch_add(1, std::memory_order_relaxed); }
  // The driver reset this primary context: its objects are gone, the context may live.
  void was_reset(int device);

 private:
  CUresult context_of(std::uint64_t id, CUcontext* context);

  const Driver& driver_;
  HandleTable& table_;
  std::vector<std::uint64_t> primary_;  // id per device; fixed after open()
  Guarded<std::vector<CUcontext>> retained_;
  Guarded<std::unordered_set<CUcontext>> views_;
  std::atomic<std::uint64_t> epoch_{1};
};

}  // namespace farcall::server
