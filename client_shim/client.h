// Client: one session with one server, and all the shim knows about it.
//
//   Client* client = current_client();                  // process.h; null before cuInit
//   ThreadState& thread = client->this_thread();
//   CUresult result = client->ask(row, encode, take);   // one round trip
//
// Owner: the process; never destroyed, because cudart calls us from atexit handlers.
// Threads: any.  Lock order: README.md.  Never throws towards the program; a session that ends
// makes every later call return kLinkLost at once.
#pragma once
#include <memory>
#include <string>

#include "client_shim/allocations.h"
#include "client_shim/array_sizes.h"
#include "client_shim/captures.h"
#include "client_shim/completions.h"
#include "client_shim/contexts.h"
#include "client_shim/flusher.h"
#include "client_shim/functions.h"
#include "client_shim/host_functions.h"
#include "client_shim/image_names.h"
#include "client_shim/landing_watch.h"
#include "client_shim/landings.h"
#include "client_shim/links.h"
#include "client_shim/mirrors.h"
#include "client_shim/origins.h"
#include "client_shim/receiver.h"
#include "client_shim/settings.h"
#include "client_shim/snapshot.h"
#include "client_shim/stats.h"
#include "client_shim/thread_state.h"
#include "client_shim/trace.h"
#include "transport/api/caller.h"
#include "transport/api/reply_cache.h"
#include "transport/base/clock.h"
#include "transport/cuda/range_facts.h"
#include "transport/link/session.h"

namespace farcall::shim {

class GraphCopies;
class GraphKept;

class Client {
 public:
  ~Client();
  using Encode = api::Encode;

  // What a client has in common with those of the program's other servers.
  struct Seat {
    unsigned number = 0;  // of the server: the mark of all its handles (transport/api/handles.h)
    // Shared, because an address must lead to its owner whichever client is asked.
    std::shared_ptr<Allocations> allocations = std::make_shared<Allocations>();
    // Shared, because what one server's captures forbid is forbidden for all.
    std::shared_ptr<Captures> captures = std::make_shared<Captures>();
  };
  // Sends the open call over a fresh session and waits for the devices: all_devices().
  // Errors: as the link's; kDriver when the server's driver could not start.
  static Result<std::unique_ptr<Client>> open(std::unique_ptr<link::Session> session,
                                              Settings settings, const Clock& clock, Seat seat);
  // Once, before any other call: the devices as the program numbers them, those of other servers
  // among them.
  void show(const VisibleDevices& visible, const Snapshot& seen);
  unsigned number() const { return seat_.number; }

  // Posts without waiting; CUDA_SUCCESS means sent. Waits for the status instead in strict mode,
  // while the thread has no context (so that the program learns of it now), under AskInstead, and,
  // for calls that wait on the server, when another thread of the program talks to it too: only a
  // call that is waited for lets the others' calls be carried out meanwhile.
  CUresult post(const api::RowInfo& row, Encode encode) { return post(this_thread(), row, encode); }
  // The same for a caller that knows this_thread() already.
  CUresult post(ThreadState& thread, const api::RowInfo& row, Encode encode);
  // The same, and posts also while the thread has no context: for what makes one.
  CUresult post_early(const api::RowInfo& row, Encode encode);
  CUresult post_payload(const api::RowInfo& row, Encode encode, std::span<const std::byte> payload);
  // One round trip. `take` also sees failures: Reply::status.
  CUresult ask(const api::RowInfo& row, Encode encode, Take take);
  CUresult ask_payload(const api::RowInfo& row, Encode encode, std::span<const std::byte> payload,
                       Take take);
  // The same with a payload that comes piece by piece (link::Session::post_bulk_from).
  CUresult ask_stream(const api::RowInfo& row, Encode encode, std::uint64_t bytes,
                      link::Session::Fill fill, Take take);
  // For rows that answer with nothing but their status.
  CUresult ask_status(const api::RowInfo& row, Encode encode);
  // For threads of ours: a round trip without a body, of which no figure tells.
  CUresult ask_quietly(const api::RowInfo& row, Take take);
  // A host function has run. Leaves at once, or with the next frame of this thread.
  void tell_finished(std::uint64_t turn, bool at_once);

  ThreadState& this_thread();
  // The calling thread is one of ours and will make calls: nothing that a thread of the program
  // does need be asked for because of it. False when there is no number for it.
  bool begin_own_thread();
  // A thread ends: its number may be used again.
  void release_thread(const ThreadState& thread);
  // Whether more than one thread of the program makes calls.
  bool has_threads() const { return numbers_.are_several(); }
  // The device of this thread's current context.
  // Errors: CUDA_ERROR_INVALID_CONTEXT when there is none.
  CUresult current_device(int* ordinal);
  // Whether what needs a context may be answered here.
  // Errors: CUDA_ERROR_INVALID_CONTEXT without one; the fault it met; CUDA_ERROR_NOT_PERMITTED
  // inside a host function.
  CUresult require_context();

  // Enters device memory that the current context has just been given.
  void remember(Memory memory, CUdeviceptr address, std::uint64_t bytes);
  // The same for what a graph allocates: known for good, because each launch allocates it again.
  void remember_graph_memory(CUdeviceptr address, std::uint64_t bytes);
  // The same for a variable of a module or library.
  void remember_global(CUdeviceptr address, std::uint64_t bytes, std::uint64_t owner);
  void remember_variable(Memory memory, CUdeviceptr address, std::uint64_t bytes,
                         std::uint64_t owner);

  // The devices as the program numbers them, of all servers.
  const Snapshot& snapshot() const { return snapshot_; }
  // This server's, in its own order.
  const Snapshot& all_devices() const { return all_devices_; }
  const VisibleDevices& visible() const { return visible_; }
  const Settings& settings() const { return settings_; }
  // Would post() post it now, and not ask?
  bool posts(const api::RowInfo& row) { return !must_ask(row, this_thread()); }

  Landings& landings() { return landings_; }
  LandingWatch& landing_watch() { return landing_watch_; }
  Allocations& allocations() { return *seat_.allocations; }
  Captures& captures() { return *seat_.captures; }
  ArraySizes& array_sizes() { return array_sizes_; }
  Mirrors& mirrors() { return mirrors_; }
  cuda::RangeFacts& range_facts() { return range_facts_; }
  Contexts& contexts() { return contexts_; }
  Functions& functions() { return functions_; }
  Origins& origins() { return origins_; }
  Links& links() { return links_; }
  ImageNames& image_names() { return image_names_; }
  api::ReplyCache& replies() { return replies_; }
  HostFunctions& host_functions() { return host_functions_; }
  GraphCopies& graph_copies() { return *graph_copies_; }
  GraphKept& graph_kept() { return *graph_kept_; }
  Completions& completions() { return completions_; }
  // Whether a wait of this thread may be answered from completions(): for all that was started, or
  // for what had been when completions().work() was `work`. What the thread posted by then must
  // have been answered, because it is by waits that programs hear of failures.
  bool may_answer_waits(std::uint64_t work = UINT64_MAX);
  Stats& stats() { return stats_; }
  Trace& trace() { return trace_; }
  link::Session& session() { return *session_; }

  // Writes the figures and the rest of the trace, if they were asked for, and closes the session.
  void finish();
  // In the child of a fork: shuts descriptors and wipes keys, and leaves the rest alone.
  void abandon_in_child() {
    trace_.abandon_in_child();
    seat_.allocations->usage().abandon_in_child();
    mirrors_.abandon_in_child();
    session_->abandon_in_child();
  }

 private:
  Allocation made_here(Memory memory, CUdeviceptr address, std::uint64_t bytes);
  void enter(const Allocation& made);
  Client(std::unique_ptr<link::Session> session, Settings settings, const Clock& clock, Seat seat);
  CUresult fetch_snapshot();
  // The header of this thread's next frame; sends the thread's context ahead when it has changed.
  Result<wire::FrameHeader> begin(const api::RowInfo& row, ThreadState& thread,
                                  std::uint16_t flags);
  CUresult failed(const Status& why) const;
  bool must_ask(const api::RowInfo& row, const ThreadState& thread) const;
  CUresult ask_now(const api::RowInfo& row, Encode encode, Take take);
  CUresult post_now(ThreadState& thread, const api::RowInfo& row, Encode encode);
  CUresult send_post(ThreadState& thread, const api::RowInfo& row, Encode encode);
  // Remembers a fault if it is certain to be the current context's.
  // True: it is news.
  bool note_result(const api::RowInfo& row, ThreadState& thread, CUresult result);
  // Says where the failure of a call comes from.
  void explain(const api::RowInfo& row, ThreadState& thread, const Waiter& waiter, CUresult result);

  // How a request leaves: as a frame, or as a frame and a payload.
  using Send = FunctionRef<Result<std::uint32_t>(wire::FrameHeader)>;
  CUresult exchange(const api::RowInfo& row, ThreadState& thread, Send send, Waiter& waiter);
  CUresult round_trip(const api::RowInfo& row, CallKind kind, Send send, Take take);

  const std::unique_ptr<link::Session> session_;
  const Settings settings_;
  const Clock& clock_;
  const Seat seat_;
  const std::uint64_t generation_;
  const std::int64_t opened_ns_;
  Snapshot all_devices_;
  VisibleDevices visible_;
  Snapshot snapshot_;
  Landings landings_;
  Completions completions_;
  Receiver receiver_;
  LandingWatch landing_watch_;
  Flusher flusher_;
  Stats stats_;
  Trace trace_;
  ThreadNumbers numbers_;
  ArraySizes array_sizes_;
  Mirrors mirrors_{*this};
  cuda::RangeFacts range_facts_;
  Contexts contexts_;
  Functions functions_;
  Origins origins_{functions_};
  Links links_;
  ImageNames image_names_;
  HostFunctions host_functions_{*this};
  const std::unique_ptr<GraphCopies> graph_copies_;
  const std::unique_ptr<GraphKept> graph_kept_;
  api::ReplyCache replies_;
};

// While it lives, this thread's queued calls wait for their status.
class AskInstead {
 public:
  AskInstead(ThreadState& thread, bool asks) : thread_(thread), before_(thread.asks_always) {
    thread_.asks_always = before_ || asks;
  }
  ~AskInstead() { thread_.asks_always = before_; }
  AskInstead(const AskInstead&) = delete;
  AskInstead& operator=(const AskInstead&) = delete;

 private:
  ThreadState& thread_;
  const bool before_;
};

}  // namespace farcall::shim
