// Facts: what a worker counts and tells its supervisor, for the audit log and containment.
//
//   auto page = FactsPage::create();  …  page->fd()            // supervisor, to its worker
//   auto facts = Facts::join(std::move(page_fd), std::move(pipe_fd));    // worker
//   facts->count(Tally::kCalls);
//   facts->module({…});                                         // never waits
//   …
//   Tallies now = page->read();                                 // supervisor, at any time
//
// Numbers stand in a page that both have mapped: telling costs an addition, they are current at
// every moment, and still there when the worker was killed. What cannot be counted, which images
// were loaded, goes through a pipe (fact_stream.h). A full pipe holds up nobody: the record is
// counted as lost in the page. Numbers and digests only: no names, no payload, nothing of a kernel.
// It is one way: the worker reads nothing of the supervisor's here. The page cannot change its
// size under its reader; a worker that has been taken over can write what it likes into it, and
// whoever reads takes it for a claim. What it had counted before, it can only make worse:
// SessionFacts keeps the highest value it has seen.
// Owner: a session, at each end.  Threads: any, without locks.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "gpu_server/fact_stream.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::server {

// What is counted. They only ever grow, but for kMemoryHeld.
enum class Tally : std::uint8_t {
  kCalls,
  kBytesIn,   // of calls and their payloads, as the program has them: in clear, unpacked
  kBytesOut,  // of answers and payloads, counted before they leave; to other servers, too
  kAllocations,
  kAllocatedBytes,
  kMemoryHeld,  // bytes of devices, of this session
  kMemoryPeak,
  kUnknownHandles,  // ids that name nothing: stale, or guessed
  // Calls refused: their family is not granted; over the lease's memory, threads, handles.
  kRefusedFamily,
  kRefusedMemory,
  kRefusedThread,
  kRefusedHandle,
  kMalformed,  // frames that broke the protocol; the first ends the session
  kModules,    // images that were to be loaded
  kModulesLost,
  // The wiping of device memory, bytes: overwritten as they were freed, and at the end; read back.
  kScrubFreed,
  kScrubLeft,
  kScrubVerified,
  kScrubUnread,
  kScrubFailures,  // allocations
  kScrubTold,      // 1: the five above are what came out
  // What encrypting the session's records took: link/security_cost.h.
  kSealedRecords,
  kSealedBytes,
  kSealNs,  // of processor time
  kOpenedRecords,
  kOpenedBytes,
  kOpenNs,
  kEnd_,
};
inline constexpr std::size_t kTallies = static_cast<std::size_t>(Tally::kEnd_);

class CallNotes;
struct CallNote;

struct Tallies {
  std::array<std::uint64_t, kTallies> values{};
  std::uint64_t operator[](Tally what) const { return values[static_cast<std::size_t>(what)]; }
};

// The page, seen by the supervisor.
class FactsPage {
 public:
  // Errors: kSystem.
  static Result<std::unique_ptr<FactsPage>> create();
  ~FactsPage();
  FactsPage(const FactsPage&) = delete;
  FactsPage& operator=(const FactsPage&) = delete;

  int fd() const { return file_.get(); }
  Tallies read() const;
  // The session's last calls, oldest first: call_notes.h.
  std::vector<CallNote> calls() const;

 private:
  friend class Facts;
  struct Page;
  FactsPage(Fd file, Page* page) : file_(std::move(file)), page_(page) {}
  static Result<Page*> map(int file);
  Fd file_;
  Page* page_;
};

class Facts {
 public:
  // Counts for itself; nobody is told.
  Facts();
  // pipe  written to without waiting; no pipe: images are only counted
  // Errors: kSystem; kMalformed for a page of another build.
  static Result<std::unique_ptr<Facts>> join(Fd page, Fd pipe);
  ~Facts();
  Facts(const Facts&) = delete;
  Facts& operator=(const Facts&) = delete;

  void count(Tally what, std::uint64_t more = 1);
  // For results that come once.
  void set(Tally what, std::uint64_t value);
  // Device memory taken and given back.
  void take_memory(std::uint64_t bytes);
  void give_back_memory(std::uint64_t bytes);
  // Is a digest worth its while?
  bool tells_modules() const { return static_cast<bool>(pipe_); }
  void module(const ModuleFact& fact);

  Tallies read() const;
  CallNotes& notes() { return *notes_; }

 private:
  using Cell = std::atomic<std::uint64_t>;
  Facts(FactsPage::Page* page, Fd pipe);
  Cell& cell(Tally what) const { return cells_[static_cast<std::size_t>(what)]; }

  std::unique_ptr<FactsPage::Page> own_;  // without one that is shared
  FactsPage::Page* page_ = nullptr;
  Cell* cells_;
  CallNotes* notes_;
  Fd pipe_;
};

}  // namespace farcall::server
