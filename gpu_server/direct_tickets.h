// DirectTickets: what a session expects from other servers, and may still get.
//
//   Result<Ticket> ticket = tickets.expect({context, address, bytes, "gpu1"});      // its client
//   std::optional<Expected> landing = tickets.claim(shown, "gpu1", bytes);      // a link's thread
//   tickets.landed(shown, result);
//   Outcome what = tickets.settle(ticket);                             // its client: it is over
//
// A ticket is good once, for the server whose certificate says that name, for exactly so many
// bytes, and limits::kDirectTicketMs long. Where the bytes go was said by the client and is kept
// here; no other server can say it.
// Owner: a session's DirectLinks.  Threads: any; settle() waits for what is landing.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "transport/api/hand_direct.h"
#include "transport/base/clock.h"
#include "transport/base/guarded.h"
#include "transport/base/status.h"
#include "transport/base/ticket.h"

namespace farcall::server {

using Outcome = api::hand::DirectOutcome;

// Bytes that are to land, all within one allocation.
struct Expected {
  std::uint64_t context_id = 0;  // the client thread's, when it said so
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
  std::string sender;
};

class DirectTickets {
 public:
  explicit DirectTickets(const Clock& clock) : clock_(clock) {}

  // Errors: kBusy while limits::kDirectTicketsMax are out.
  Result<Ticket> expect(Expected what);
  // Whether this ticket could be claimed by `sender`; it stays good.
  bool is_good(const Ticket& ticket, const std::string& sender);
  // Uses the ticket up. Nothing when it is not good, or for another number of bytes.
  std::optional<Expected> claim(const Ticket& ticket, const std::string& sender,
                                std::uint64_t bytes);
  // All that was claimed is there, or never will be.
  void landed(const Ticket& ticket, Outcome result);
  // Ends a ticket, waiting for bytes that are under way; nothing lands afterwards.
  // kNotUsed when it was not, or is not known.
  Outcome settle(const Ticket& ticket);

 private:
  enum class Stage { kWaiting, kLanding, kOver };
  struct Entry {
    Ticket ticket;
    Expected what;
    std::int64_t until_ns = 0;
    Stage stage = Stage::kWaiting;
    Outcome result = Outcome::kNotUsed;
  };
  using Entries = std::vector<Entry>;
  static Entry* find(Entries& entries, const Ticket& ticket);
  Entry* find_good(Entries& entries, const Ticket& ticket, const std::string& sender);

  const Clock& clock_;
  Guarded<Entries> entries_;
  std::condition_variable landed_;
};

}  // namespace farcall::server
