// Trace: every call of the program, written to a file while it runs, for FARCALL_TRACE and
// `farcall explain`.
//
//   Trace trace(settings.trace_file, stats, clock);
//   TracedCall call(trace);                    // entry.h: around every exported function
//   stats.count(kind, name); stats.waited(ns); // note themselves with the thread's TracedCall
//   trace.finish(report);
//
// Each thread appends to a buffer of its own, without a lock; a thread of ours writes what has
// gathered, twice a second and whenever a buffer is full. So a call costs two looks at the clock
// and one store of 32 bytes, and a program that is killed loses half a second of its trace. Memory
// and file are bounded (limits.h): what finds no room is counted as dropped. The path: "%p" in it
// stands for the process id. A file that another process is writing is left alone; then this one
// writes PATH.<pid>, as do the children of a fork. Owner: one per client.  Threads: any.  Lock
// order: `file_` before `state_`; `file_` is held over I/O, by the writer and by finish() only.
// Never holds data, kernel names or device addresses.
#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "client_shim/call_site.h"
#include "client_shim/stats.h"
#include "client_shim/trace_format.h"
#include "transport/base/clock.h"
#include "transport/base/guarded.h"
#include "transport/base/limits.h"
#include "transport/base/unique.h"

namespace farcall::shim {

class Trace {
 public:
  // path: empty for no trace. A file that cannot be written is said in the log, and there is none.
  Trace(const std::string& path, const Stats& stats, const Clock& clock);
  ~Trace();

  bool is_on() const { return is_on_.load(std::memory_order_relaxed); }
  std::int64_t now_ns() const { return clock_.now_ns(); }

  // One call that is over. frame: see CallSites::find.
  void add(TraceEvent event, const void* frame);
  // The session, whose opening began at `start_ns` on this thread, has come about.
  void note_opening(std::int64_t start_ns);
  // The calling thread ends.
  void end_thread();
  // Writes what is left and the session's figures; nothing is traced afterwards.
  void finish(const std::string& report);
  // In the child of a fork: lets go of the file and leaves the rest alone.
  void abandon_in_child();

 private:
  struct Buffer;
  struct ThreadTrace;
  struct Mine;
  struct Piece {
    Buffer* buffer;
    std::uint32_t begin;
    std::uint32_t end;
  };
  struct State {
    std::vector<std::unique_ptr<ThreadTrace>> threads;
    std::deque<std::unique_ptr<Buffer>> full;
    std::vector<std::unique_ptr<Buffer>> free;
    std::size_t buffers = 0;
    bool is_writer_running = false;
    bool is_ending = false;
  };
  struct File {
    Fd fd;
    std::uint64_t bytes = 0;
    std::vector<bool> named = std::vector<bool>(Stats::kSlots);
  };
  static Mine& mine();
  ThreadTrace* attach();
  bool renew(State& state, ThreadTrace& thread);
  void write_out(File& file);
  void write_names(File& file);
  void write_piece(File& file, const Piece& piece);
  void write_chunk(File& file, TraceChunkKind kind, const void* head, std::size_t head_bytes,
                   std::string_view body);
  void run();

  const Stats& stats_;
  const Clock& clock_;
  CallSites sites_;
  std::atomic<bool> is_on_{false};
  std::atomic<int> fd_in_child_{-1};
  std::atomic<std::uint32_t> homeless_{0};  // calls of threads for which there was no buffer
  std::condition_variable changed_;
  Guarded<File> file_;
  Guarded<State> state_;
};

// What one call of the program costs, gathered on its thread while it lasts. A call made inside
// another belongs to it.
class TracedCall {
 public:
  explicit TracedCall(Trace& trace) {
    if (trace.is_on()) begin(trace);
  }
  ~TracedCall() {
    if (trace_ != nullptr) end();
  }
  TracedCall(const TracedCall&) = delete;
  TracedCall& operator=(const TracedCall&) = delete;

  // Notes for the call this thread is in, if there is one.
  static void note(std::uint16_t function, CallKind kind);
  static void note_wait(std::int64_t ns);
  static void note_bytes(std::uint64_t out, std::uint64_t in);

 private:
  void begin(Trace& trace);
  void end();

  Trace* trace_ = nullptr;
  std::int64_t start_ns_ = 0;
  std::int64_t wait_ns_ = 0;
  std::uint64_t bytes_out_ = 0;
  std::uint64_t bytes_in_ = 0;
  std::uint16_t function_ = kNoFunction;
  std::uint8_t round_trips_ = 0;
  CallKind kind_ = CallKind::kLocal;
  static constexpr std::uint16_t kNoFunction = 0xffff;
};

}  // namespace farcall::shim
