// LiveSessions: the sessions of this server, and a way to end those that may not go on.
//
//   LiveSessions::Place place(live, peer, id);         // on the session's thread
//   poll(… place.fd() …);                              // readable once it is to end
//   Status why = place.why();                          // what to tell the client
//
//   live.end_where([&](const PeerIdentity& who) { return verdict_on(who); });   // any thread
//   live.vouch(who);             // the same member came again, with a certificate that lives
//   longer live.end_expired(now);       // whose client's certificate has expired
//
// A session is ended for its client's identity, or for that of a server it has a link with. It ends
// with the certificate it began with, unless its client has shown a renewed one since, for the same
// name, zone and role, in any handshake here; from then on that one counts too, in both ways:
// revoking it ends the session. Of a server at a link's other end only revocation counts.
// Owner: the supervisor, who outlives every Place.  Threads: any; one lock, a leaf.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <vector>

#include "security/identity.h"
#include "transport/base/function_ref.h"
#include "transport/base/guarded.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::server {

class LiveSessions {
  struct Entry;

 public:
  using Id = std::array<std::byte, 16>;
  using Verdict = FunctionRef<Status(const security::PeerIdentity&)>;

  class Place {
   public:
    // Without a descriptor (EMFILE) the session can be served, but fd() is -1: see is_sound().
    Place(LiveSessions& all, const security::PeerIdentity& client, const Id& id);
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    bool is_sound() const;
    int fd() const;
    Status why() const;  // ok while it may go on
    // This session has a link with that server from now on.
    void link(const security::PeerIdentity& server);

   private:
    LiveSessions& all_;
    std::list<Entry>::iterator at_;
  };

  // The same, where the server came here.
  void link(const Id& id, const security::PeerIdentity& server);
  // Asks for a verdict on everybody the sessions deal with and ends those where one is not ok.
  // Returns how many that were.  The verdict is formed under the lock: no I/O in it.
  std::size_t end_where(Verdict verdict);
  // `who` has proven to hold this certificate just now.
  void vouch(const security::PeerIdentity& who);
  // now: Unix seconds. Returns how many sessions that were.
  std::size_t end_expired(std::int64_t now);

 private:
  struct Entry {
    Id id{};
    std::string member;           // the client's name, as identity_uri() writes it
    std::int64_t good_until = 0;  // Unix seconds: of the client's certificates the latest
    // The client's certificates, then servers'.
    std::vector<security::PeerIdentity> parties;
    Fd end;  // eventfd
    Status why;
    void add(const security::PeerIdentity& party);
    void finish(Status reason);
  };
  Guarded<std::list<Entry>> entries_;
};

}  // namespace farcall::server
