// DirectLinks: a session's links to sessions on other servers, for copies that do not pass through
// the client (transport/api/hand_direct.h).
//
//   Outcome sent = direct.push({"gpu2", session, ticket, bytes}, fill);     // the sending session
//   direct.came(std::move(handover));                                        // the receiving one
//
// The worker opens no socket: it asks its supervisor, who dials and hands the link over, or hands
// over one that came. A link is kept for the next copy; a thread of its own serves one that came.
// What comes over it is hostile: it can name a ticket and send the bytes the ticket is for, and all
// else ends the link and nothing more. A server has one link to a session: a newer one takes the
// place of the older, so that nobody's links take another's room. Owner: the worker, beside the
// Executor.  Threads: any, as each function says.
#pragma once
#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "gpu_server/bulk_in.h"
#include "gpu_server/direct_tickets.h"
#include "gpu_server/facts.h"
#include "transport/api/driver.h"
#include "transport/base/function_ref.h"
#include "transport/link/handover.h"
#include "transport/link/peer.h"
#include "transport/link/session.h"

namespace farcall::server {

class DirectLinks {
 public:
  struct Settings {
    std::string name;                // of this server
    std::vector<std::string> peers;  // those it talks to
    link::SessionId session;
  };
  using Ask = std::function<Status(const link::PeerRequest&)>;
  // Makes this context of the client's current on the calling thread.
  using Bind = std::function<CUresult(std::uint64_t context_id)>;

  // driver: borrowed.  ask: how a request reaches the supervisor.
  DirectLinks(const api::Driver& driver, Settings settings, Ask ask);
  ~DirectLinks() { stop(); }
  DirectLinks(const DirectLinks&) = delete;
  DirectLinks& operator=(const DirectLinks&) = delete;
  // Before anything is expected.
  void bind_by(Bind bind) { bind_ = std::move(bind); }

  const Settings& settings() const { return settings_; }
  bool is_peer(std::string_view name) const;
  DirectTickets& tickets() { return tickets_; }

  // From the supervisor: a link that came, or the answer to a request.  Threads: one.
  void take(link::Handover gift);

  struct Parcel {
    std::string receiver;
    link::SessionId session;
    Ticket ticket{};
    std::uint64_t bytes = 0;
  };
  // Sends a parcel and waits until it has landed. Another one for the same session waits for its
  // turn.
  //   memory  all of it, where it can be reached; else empty, and `fill` brings it piece by piece
  Outcome push(const Parcel& parcel, std::span<const std::byte> memory, link::Session::Fill fill);

  // Ends the link that claimed this ticket and has not brought its bytes yet: its sender failed.
  void abandon(const Ticket& ticket);
  // Ends all links and waits for their threads. Idempotent.
  void stop();

  // Counts there what leaves for other servers. Borrowed. Before the first push().
  void use_facts(Facts* facts) { facts_ = facts; }

 private:
  struct Incoming {
    std::string sender;
    // Made by the thread; closed by others, too, with no lock held: closing talks to the other end.
    std::shared_ptr<link::Session> session;
    std::thread thread;
    std::optional<Ticket> claimed;  // whose bytes have not landed
    bool is_replaced = false;
    bool is_over = false;
  };
  struct Outgoing {
    std::shared_ptr<link::Session> session;
    bool is_lent = false;
  };
  struct State {
    std::list<Incoming> incoming;
    std::map<std::string, Outgoing> outgoing;                      // by name and session
    std::map<std::uint32_t, std::optional<link::Handover>> asked;  // what came of requests
    std::uint32_t last_request = 0;
    bool stopped = false;
  };
  void came(link::Handover gift);
  // Forgets links that are over. False when one more from this server may not come in; else ends
  // the one that it had.
  bool make_room(const std::string& sender);
  void serve(Incoming& link, link::Handover gift);
  void serve_frames(Incoming& link);
  void note_claim(Incoming& link, std::optional<Ticket> claimed);
  Outcome land(const Expected& what, BulkIn& payload);
  // The link to this receiver, as long as it is not given back; null when there is none.
  link::Session* borrow(const Parcel& parcel);
  std::unique_ptr<link::Session> open(const Parcel& parcel);
  void give_back(const Parcel& parcel);
  Outcome send(link::Session& session, const Parcel& parcel, std::span<const std::byte> memory,
               link::Session::Fill fill);

  const api::Driver& driver_;
  const Settings settings_;
  const Ask ask_;
  Bind bind_;
  Facts* facts_ = nullptr;
  DirectTickets tickets_;
  Guarded<State> state_;
  std::condition_variable changed_;
};

}  // namespace farcall::server
