// LateCopies: copies to page-locked memory of the client that nobody waits for.
//
//   late.start({landing, from, bytes, stream});   // enqueued behind the stream; returns at once
//   late.send_complete();                         // before every reply
//
// The driver copies into staging of ours; an event behind it tells when. Complete ones go to the
// client as copy_landed notices. Two rules keep what the client sees in order:
//   - no reply leaves before the notices of what was complete when its call was, so a reply that
//     proves a copy complete comes after its bytes, whatever call it was that proved it;
//   - completeness is asked from the youngest to the oldest and sent from the oldest to the
//     youngest, so a copy never arrives before one it depends on.
// A small thread does the same from time to time, for a program that only looks at its memory.
// Whatever becomes of a copy, its landing hears of it once.
// Owner: the executor.  Threads: any; start() by one at a time, in the order of the calls.
// Lock order: sending_, then the link's; state_ is a leaf. sending_ is held over sending and over
// cuEventQuery, because a second sender must not overtake the first one's notices.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <thread>
#include <vector>

#include "gpu_server/facts.h"
#include "gpu_server/late_staging.h"
#include "transport/base/guarded.h"
#include "transport/wire/frame.h"

namespace farcall::link {
class Session;
}

namespace farcall::server {

class LateCopies {
 public:
  LateCopies(const Driver& driver, link::Session& link);
  ~LateCopies();
  LateCopies(const LateCopies&) = delete;
  LateCopies& operator=(const LateCopies&) = delete;

  struct Request {
    std::uint64_t landing = 0;
    CUdeviceptr from = 0;
    std::size_t bytes = 0;  // 1 … limits::kLateCopyBytesMax
    CUstream stream = nullptr;
  };
  // Before the first copy.
  void use_ledger(Ledger* ledger) { staging_.use_ledger(ledger); }
  void use_facts(Facts* facts) { facts_ = facts; }
  // Enqueues the copy, with the client thread's context current. A failure is returned, and told to
  // the landing too.
  CUresult start(const Request& request);
  // More than an honest client can have under way. Loans do not count.
  bool is_full() const {
    return landings_.load(std::memory_order_relaxed) >= limits::kLateCopiesMax;
  }
  // There will be no copy. Nothing happens when is_full().
  void call_off(std::uint64_t landing, CUresult why);
  // A call will not be carried out: calls its copy off, should it be one of ours.
  void refuse(const wire::FrameHeader& head, std::span<const std::byte> body, CUresult why);

  void send_complete() {
    if (outstanding_.load(std::memory_order_acquire) > 0) send_all_complete();
  }
  // Whether a copy to or from staging is worth being under way while a piece is opened or sealed.
  // Where two cores carry it all, a copy by the driver's own threads only gets in the way, and the
  // pieces fall out of the cache: so by default, on three cores or more.
  bool overlaps() const { return overlaps_; }
  void set_overlaps(bool overlaps) { overlaps_ = overlaps; }  // before the first call

  // Staging of ours for a payload that somebody waits for, with an event of its own, so that the
  // driver copies one piece while the next is opened or the last is sealed.
  struct Loan {
    std::vector<LateStaging::Piece> pieces;  // one
    CUcontext context = nullptr;
    CUevent event = nullptr;
    std::span<std::byte> bytes() const { return pieces[0].bytes; }
  };
  // Room for `bytes` (at most limits::kLateCopyBytesMax), with a context current. False when there
  // is none to be had in one piece now, what is left is promised to copies, or the driver has no
  // events: use other staging then.
  bool lend(std::size_t bytes, Loan* loan);
  // The loan is in use until what is in the stream now has been done.
  CUresult mark(const Loan& loan, CUstream stream);
  CUresult wait(const Loan& loan);
  // Nothing uses it any more; or will not, once what was marked has been done.
  void take_back(const Loan& loan);
  void take_back_later(Loan loan);

  // Waits for the copies of a context, which is current and about to go, and sends them.
  void settle(CUcontext context);
  // Waits for all, sends nothing more. For the end of a session, contexts still there.
  void stop();

 private:
  struct Copy {
    std::uint64_t landing = 0;  // 0: a loan, nobody is to be told
    std::size_t bytes = 0;
    CUcontext context = nullptr;
    CUevent event = nullptr;  // null: complete
    CUresult status = CUDA_SUCCESS;
    bool complete = false;
    std::vector<LateStaging::Piece> pieces;
  };
  struct IdleEvent {
    CUcontext context;
    CUevent event;
  };
  struct State {
    std::list<Copy> copies;  // in the order of their calls
    std::vector<IdleEvent> events;
    bool started = false;
    bool parked = false;
    bool stop = false;
  };
  CUresult enqueue(const Request& request, Copy& copy);
  void mark_end(CUstream stream, Copy& copy);
  CUevent take_event(CUcontext context);
  void append(Copy copy);
  bool send_all_complete();
  void mark_complete();
  void send(const Copy& copy);
  void retire(const Copy& copy);
  void wait_for(CUcontext context);
  void watch();

  const Driver& driver_;
  link::Session& link_;
  Facts* facts_ = nullptr;
  LateStaging staging_;
  bool overlaps_ = std::thread::hardware_concurrency() > 2;
  Mutex sending_;
  Guarded<State> state_;
  std::condition_variable changed_;
  // Both fall when a copy's notice is on the link.
  std::atomic<std::size_t> outstanding_{0};  // copies and loans
  std::atomic<std::size_t> landings_{0};     // of them, those the client is to be told of
  std::thread watcher_;
};

}  // namespace farcall::server
