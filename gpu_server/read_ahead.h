// ReadAhead: the frames of a session in order, also while the thread that carries them out is held
// up by a driver that waits for the client.
//
//   ReadAhead frames(link, host_gates);
//   Result<link::Frame> frame = frames.next();
//   frames.cover();             // before a call that may be held up until a host function has run
//   …the call…
//   frames.uncover();
//
// A driver whose queues are full, or whose free waits for the stream, holds up its caller; when a
// host function stands in that stream, only the client can let it go on, and its words
// (await_host_function, finish_host_function) stand in the link behind other calls. So while such a
// call lasts, another thread reads on: it passes those on at once and keeps the rest, in order, for
// the thread that is held up. It comes only when a call has lasted for a look or two of a watch
// (relief.h), and goes when the call is over. What it keeps is bounded by
// limits::kReadAheadBytesMax; an honest client leaves less than that unanswered while it has host
// functions outstanding. Owner: an Executor.  Threads: one at a time, the one that leads; stop()
// another, after the end of the link. Lock order: its lock is a leaf.
#pragma once
#include <condition_variable>
#include <deque>
#include <optional>

#include "gpu_server/relief.h"
#include "gpu_server/waiter_pool.h"
#include "transport/base/guarded.h"
#include "transport/base/secure_arena.h"
#include "transport/link/session.h"

namespace farcall::server {

class HostGates;

class ReadAhead {
 public:
  ReadAhead(link::Session& link, HostGates& gates);
  ~ReadAhead() { stop(); }
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  // The next frame; its body is good until the next call of this, and of cover().
  Result<link::Frame> next();
  void cover();
  void uncover();

  // As of the link: whether next() has something without a system call, or at all.
  bool has_frame();
  bool has_arrived();

  // The link is closed. No thread of this is left when it returns.
  void stop();

 private:
  // Frames back to back, headers in front.
  struct Chunk {
    SecureBuffer memory;
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  struct State {
    std::deque<Chunk> chunks;
    std::size_t bytes = 0;  // kept, of which the first is_shown ones are next()'s
    std::size_t shown = 0;
    bool is_covered = false;    // the leader is in a call
    bool is_reading = false;    // another thread reads; only it ends that
    bool has_read = false;      // it has ended since cover()
    std::optional<Status> end;  // of the link, as it saw it
  };
  void read();
  // False when it should read no more.
  bool wait_for_room();
  Status keep(const link::Frame& frame);
  static void drop_shown(State& state);
  static Result<link::Frame> first(State& state);

  link::Session& link_;
  HostGates& gates_;
  Guarded<State> state_;
  std::condition_variable changed_;
  bool has_offered_ = false;  // the leader's: to the watch, in this call
  WaiterPool readers_;        // one thread
  Relief relief_;
};

}  // namespace farcall::server
