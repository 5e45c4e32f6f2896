// Quarantine: sessions that were frozen for what they did, and who is let in no more because of it.
//
//   {
//     Quarantine::Ward ward(quarantine, std::move(facts));  // the session's thread, as it froze
//     poll(… ward.fd() …);                                  // an operator wants something
//     if (ward.take_order() == Quarantine::Order::kRelease) thaw();
//   }                                                       // else the session is over
//
//   Status fine = quarantine.admits(peer, lease);           // before a new session
//   quarantine.order(id, Quarantine::Order::kRelease);      // control_socket.h
//
// As long as a case stands, its client (by name: a renewed certificate does not help) and its lease
// start no session here; other sessions of that client that run go on, each watched for itself. A
// case stands until it is released: also when its session has ended meanwhile, be it that its
// client went away, and when the server starts again (quarantine_file.h). What is kept of it are
// names and numbers, no payload.
// Owner: the supervisor, who outlives every Ward.  Threads: any; both locks are leaves.
#pragma once
#include <cstdint>
#include <list>
#include <string>
#include <vector>

#include "gpu_server/audit_events.h"
#include "gpu_server/call_notes.h"
#include "gpu_server/containment.h"
#include "security/identity.h"
#include "transport/base/guarded.h"
#include "transport/base/limits_containment.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::server {

enum class CaseState : std::uint8_t {
  kFrozen,    // the worker is stopped
  kReleased,  // and goes on
  kEnded,     // the session is over; its client is still refused
  kClosed,    // the session is over, its client is let in again
};
std::string_view name_of(CaseState state);  // "frozen", "released", "ended", "closed"

struct QuarantineCase {
  std::string id;  // its session's; with "-2" and so on when that was frozen before
  std::string session;
  security::PeerIdentity who;
  std::string lease;  // empty: it had none
  std::string from;
  int worker = 0;
  std::int64_t since_unix_s = 0;
  ContainmentHit hit;
  Tallies evidence;               // when it was frozen
  std::vector<CallNote> calls{};  // its last ones, oldest first
  CaseState state = CaseState::kFrozen;
};

// Is its client let in no more?
bool stands(const QuarantineCase& one);

class Quarantine {
 public:
  enum class Order : std::uint8_t { kNone, kRelease, kEnd };

 private:
  struct Entry {
    QuarantineCase facts;
    Fd wake;  // eventfd; none once the session is over
    Order order = Order::kNone;
  };

 public:
  // A session that is frozen, until it is released or over.
  class Ward {
   public:
    Ward(Quarantine& all, QuarantineCase facts);
    ~Ward();
    Ward(const Ward&) = delete;
    Ward& operator=(const Ward&) = delete;
    std::string id() const;
    // Readable when there is an order; -1 where none can come (no descriptors left).
    int fd() const;
    // What an operator wants. After kRelease the case is over, after kEnd it stands.
    Order take_order();

   private:
    Quarantine& all_;
    std::list<Entry>::iterator at_;
  };

  // From now on cases that stand are kept in that file; those that are there already stand again.
  // Before any session.  Errors: those of load_cases.
  Status keep_in(const std::string& path);
  // Errors: kDenied, in words for the client.
  Status admits(const security::PeerIdentity& who, const std::string& lease) const;
  // Errors: kNotFound; kBusy (nothing to do: it is over, or released).
  Status order(const std::string& id, Order what);
  std::vector<QuarantineCase> cases() const;

 private:
  struct Saving {
    bool is_due = false;
    bool is_under_way = false;
  };
  // What is in the file is never older than the last change once nobody saves any more.
  void save();
  Status give_order(const std::string& id, Order what, bool* is_closed);
  std::string path_;  // empty: cases are kept nowhere
  mutable Guarded<std::list<Entry>> entries_;
  Guarded<Saving> saving_;
};

}  // namespace farcall::server
