// SessionFacts: what a session's worker tells (facts.h), taken and recorded by its supervisor.
//
//   auto facts = SessionFacts::open();
//   command.facts_page = facts->page_fd();  command.facts_pipe = facts->pipe_fd();  // then spawn
//   facts->worker_has_them();
//   poll(… facts->fd() …);  facts->take(now_ms, record);        // images, as they are loaded
//   Tallies now = facts->tallies();                             // for containment
//   …                                                           // the worker has ended
//   facts->take_rest(record);  audit.session_facts(session, facts->tallies(), facts->lost());
//
// All of it is what a process says that may have been taken over. So what it says is bounded: more
// images than limits::kFactsAtOnce, one a second beyond that, are not read; then its pipe is full
// and it counts what it could not tell. Nothing here waits.
// Owner: the session's thread.  Threads: one.
#pragma once
#include <cstdint>
#include <memory>

#include "gpu_server/call_notes.h"
#include "gpu_server/facts.h"
#include "transport/base/function_ref.h"

namespace farcall::server {

class SessionFacts {
 public:
  using Each = FunctionRef<void(const ModuleFact&)>;

  // Errors: kSystem.
  static Result<std::unique_ptr<SessionFacts>> open();

  int page_fd() const { return page_->fd(); }
  int pipe_fd() const { return theirs_.get(); }
  // Closes the end that is the worker's, so that its death shows.
  void worker_has_them() { theirs_.reset(); }

  // Readable when there may be something to take; -1 while there is nothing that may be taken.
  int fd(std::int64_t now_ms);
  // What the worker said since. Only as much as may be recorded now.
  // Errors: kMalformed, once: the worker is not itself any more, and nothing more is read.
  Status take(std::int64_t now_ms, Each each);
  // The worker has ended: what is left in the pipe, or the count of it.
  void take_rest(Each each);

  // The highest of each that was ever seen; kMemoryHeld as it is.
  const Tallies& tallies();
  // Its last calls, oldest first, as it claims them: call_notes.h.
  std::vector<CallNote> calls() const { return page_->calls(); }
  // Images that were loaded and are not recorded.
  std::uint64_t lost();

 private:
  SessionFacts(std::unique_ptr<FactsPage> page, Fd ours, Fd theirs)
      : page_(std::move(page)), ours_(std::move(ours)), theirs_(std::move(theirs)) {}
  void earn(std::int64_t now_ms);
  // At most `records` of them.
  Status read(int records, Each each);

  std::unique_ptr<FactsPage> page_;
  Fd ours_;
  Fd theirs_;
  FactStream stream_;
  Tallies highest_;
  int may_take_ = limits::kFactsAtOnce;
  std::int64_t earned_ms_ = 0;  // up to when
  std::uint64_t unread_ = 0;
};

}  // namespace farcall::server
