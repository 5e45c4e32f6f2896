// Call: one call of a client on its way to the driver, as the hand-written families see it.
//
//   Verdict copy_in(Call& call) {
//     auto to = call.in.get<CUdeviceptr>();
//     if (!call.in.done()) return Verdict::kMalformed;
//     …
//     return call.status(call.driver.cuMemcpyHtoD_v2(to, …));
//   }
//
// A handler reads all of `in` and writes a CUresult and, on CUDA_SUCCESS, its answers to `out`.
// Whether anybody waits for them is the executor's business. The thread's context is current.
// Everything in `in` and `bulk` is hostile.
// Owner: the executor, for the time of the call.  Threads: one.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "gpu_server/bulk_in.h"
#include "gpu_server/call_handles.h"
#include "gpu_server/facts.h"
#include "gpu_server/late_copies.h"
#include "gpu_server/thread_state.h"
#include "gpu_server/watched_events.h"
#include "transport/api/server_call.h"
#include "transport/link/session.h"
#include "transport/wire/frame.h"

namespace farcall::server {

class Contexts;
class DirectLinks;
class Functions;
class HostGates;
class Ledger;
class Links;
class ModuleCache;

enum class Verdict {
  kAnswered,   // `out` is the reply
  kMalformed,  // the body is not what the protocol says: ends the session
  kSent,       // the handler sent its reply itself, because a payload goes with it
};

// ServerCall gives driver, handles, scratch, in and out.
struct Call : api::ServerCall {
  const wire::FrameHeader& head;
  ThreadState& thread;
  link::Session& link;
  BulkIn& bulk;                  // the payload that came with the call; often empty
  std::span<std::byte> staging;  // where payloads pass through; wiped when our thread ends
  Contexts& contexts;
  Functions& functions;
  const std::function<void()>& flush_printed;  // may be empty
  LateCopies& late_copies;
  HostGates& host_gates;
  WatchedEvents& watched_events;
  Links& links;
  ModuleCache* module_cache = nullptr;  // null: no image is kept on this host
  DirectLinks* direct = nullptr;        // null: this server talks to no others
  Ledger* ledger = nullptr;             // null: nobody counts
  Facts& facts;

  // For handlers that send their reply themselves, right before they do.
  //   payload_bytes  what goes with it
  void before_answer(std::uint64_t payload_bytes) {
    facts.count(Tally::kBytesOut, payload_bytes);
    if (flush_printed) flush_printed();
    send_notices(watched_events, late_copies);
  }

  // For our own use: what is not there is nobody's mistake. The handles are always the executor's.
  bool knows(Kind kind, std::uint64_t id) {
    return static_cast<CallHandles&>(handles).knows(kind, id);
  }

  // Writes the status word, alone on failure.
  Verdict status(CUresult result) {
    out.put(static_cast<std::uint32_t>(result));
    return Verdict::kAnswered;
  }
  // The header of this call's reply.
  wire::FrameHeader reply_head() const {
    return {.id = head.id, .flags = wire::kReply, .call = head.call, .thread = head.thread};
  }
};

}  // namespace farcall::server
