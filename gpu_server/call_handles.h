// CallHandles: the session's handles as one call of one client thread sees them.
//
//   CallHandles handles(table, thread, driver);
//   Call call{.handles = handles, …};
//
// Adds to the table what only the call knows: objects hang on the thread's current context unless
// the row names a nearer parent, and CU_STREAM_PER_THREAD is this thread's own stream, because the
// threads that CUDA would tell apart are the client's, not ours.
// Owner: the call.  Threads: one.
#pragma once
#include "gpu_server/facts.h"
#include "gpu_server/handle_table.h"
#include "gpu_server/thread_state.h"
#include "transport/api/driver.h"
#include "transport/api/handles.h"

namespace farcall::server {

using api::Driver;

class CallHandles final : public api::Handles {
 public:
  // facts: where ids that name nothing are counted
  CallHandles(HandleTable& table, ThreadState& thread, const Driver& driver, Facts& facts)
      : table_(table), thread_(thread), driver_(driver), facts_(facts) {}

  void* find(Kind kind, std::uint64_t id) override;
  std::uint64_t add(Kind kind, void* real, std::uint64_t parent) override;
  bool is_taken(std::uint64_t id) override { return table_.taken(id); }
  bool adopt(Kind kind, std::uint64_t id, void* real) override;
  void drop(Kind kind, std::uint64_t id) override;
  std::uint64_t graph_of(std::uint64_t id) override;
  CUstream thread_stream() override;

  // For our own use: what is not there is nobody's mistake.
  bool knows(Kind kind, std::uint64_t id) { return table_.find(kind, id) != nullptr; }
  HandleTable& table() { return table_; }

 private:
  std::uint64_t context_for(Kind kind) const;
  HandleTable& table_;
  ThreadState& thread_;
  const Driver& driver_;
  Facts& facts_;
};

}  // namespace farcall::server
