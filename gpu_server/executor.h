// Executor: runs one session's calls in the order in which they arrive.
//
//   Executor executor(driver, session);
//   Status why = executor.run();          // returns when the link ends, everything cleaned up
//
// The client's calls form one ordered stream, so that what its thread A launched before it woke its
// thread B comes before B's next call here too. One thread at a time leads: it receives calls and
// carries them out. When a call may wait for the GPU, the leader does the waiting, because it need
// not be woken for it, and another thread takes the lead at that point of the order: at once while
// several client threads call, else when something arrives (relief.h). So a wait holds up nobody
// else. A client thread that waits sends nothing; should one send all the
// same, the leader lets its wait finish first: a ThreadState is never used by two of our threads.
//
// A call nobody waits for (Queued) leaves its failure in the ThreadState; the thread's next call
// with an answer reports it and is not carried out; a notice ahead of the answer says whose it is.
// Owner: the worker's main thread, or a test's.  Threads: run() by one.
// Never trusts a byte from the link; a frame that breaks the protocol ends this session only.
#pragma once
#include <condition_variable>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "gpu_server/bulk_in.h"
#include "gpu_server/call.h"
#include "gpu_server/capabilities.h"
#include "gpu_server/contexts.h"
#include "gpu_server/desk.h"
#include "gpu_server/facts.h"
#include "gpu_server/functions.h"
#include "gpu_server/handle_table.h"
#include "gpu_server/host_gates.h"
#include "gpu_server/late_copies.h"
#include "gpu_server/links.h"
#include "gpu_server/read_ahead.h"
#include "gpu_server/relief.h"
#include "gpu_server/thread_state.h"
#include "gpu_server/waiter_pool.h"
#include "gpu_server/watched_events.h"

namespace farcall::server {

struct Row;

// Calls count up by one and skip 0, which is no call number.
constexpr std::uint32_t call_after(std::uint32_t call) { return call == UINT32_MAX ? 1 : call + 1; }

class Executor {
 public:
  // Both are borrowed.
  Executor(const Driver& driver, link::Session& link);
  ~Executor();

  Status run();

  // Called before the answer to each call that waits. Before run().
  void before_answers(std::function<void()> flush) { flush_ = std::move(flush); }

  // Before run(): see late_copies.h.
  void overlap_copies(bool overlaps) { late_copies_.set_overlaps(overlaps); }
  // Families of calls that are carried out, bit n: those whose number has the high byte n. All
  // others are refused with CUDA_ERROR_NOT_PERMITTED. Before run().
  void grant_families(std::uint64_t families) { capabilities_.grant(families); }
  // Keeps images there. Borrowed. Before run().
  void use_module_cache(ModuleCache* cache) { module_cache_ = cache; }
  // Holds the session to its lease's limits, and counts there what it takes of the host. What it
  // takes of devices the driver has to count: see ledger_driver.h. Borrowed. Before run().
  void use_ledger(Ledger* ledger);
  // Counts there what the session does. Borrowed. Before run(), after use_direct_links().
  void use_facts(Facts* facts);
  // Links to other servers, ended with the session. Borrowed; may be null. Before run().
  void use_direct_links(DirectLinks* direct);

  HandleTable& handles() { return handles_; }

 private:
  // A frame and what belongs to it, while it is being carried out.
  struct Errand {
    const Row* row = nullptr;
    ThreadState* thread = nullptr;
    wire::FrameHeader head;
    std::span<const std::byte> body;
    std::unique_ptr<BulkIn> bulk;
  };
  void lead();
  Status take(const link::Frame& frame, bool* leading);
  Status wait_with(Errand& errand, bool* leading);
  // For calls that a driver may hold up until the client has run a host function.
  Status carry_out_covered(Errand& errand);
  // Copies the body to where the next frame does not overwrite it.
  Status keep_body(Errand& errand, SecureBuffer* body);
  void give_back(SecureBuffer body);
  // For the call that is about to wait: is it likely that another client thread calls meanwhile?
  bool expects_others();
  Status carry_out(Errand& errand);
  // One client thread more than the lease allows: each of its calls fails.
  Status refuse_thread(Errand& errand);
  // A call that cannot be carried out at all; what the client may wait for beside its answer too.
  Status turn_down(Errand& errand, CUresult status);
  // A call that the lease does not grant.
  Status forbid(Errand& errand);
  // Answers without carrying out.
  Status answer(Errand& errand, CUresult status);
  Status finish(const Errand& errand, wire::Writer& out);
  void defer(const Errand& errand, CUresult status);
  // Says whose failure the reply to `errand` is going to report.
  void tell(const Errand& errand, const Deferred& earlier);
  // What the link's encryption has cost so far, into the facts.
  void tell_cost();
  void clean_up();
  SecureBuffer spare_body();

  const Driver& driver_;
  link::Session& link_;
  HandleTable handles_;
  Contexts contexts_;
  Functions functions_;
  ThreadTable threads_;
  BulkLane bulk_lane_;
  LateCopies late_copies_;
  HostGates host_gates_;
  ReadAhead frames_;
  WatchedEvents watched_events_;
  Links links_;
  std::function<void()> flush_;
  ModuleCache* module_cache_ = nullptr;
  DirectLinks* direct_ = nullptr;
  Ledger* ledger_ = nullptr;
  Facts own_facts_;
  Facts* facts_ = &own_facts_;
  Capabilities capabilities_;
  std::uint32_t last_call_ = 0;  // these three belong to the leader
  std::uint32_t last_thread_ = 0;
  int waits_with_others_ = 0;  // more to come, since the client's threads last took turns
  Guarded<std::vector<SecureBuffer>> spare_bodies_;
  Guarded<std::optional<Status>> end_;  // why the last leader stopped
  std::condition_variable ended_;
  WaiterPool waiters_;  // its threads use all of the above
  Relief relief_;
};

}  // namespace farcall::server
