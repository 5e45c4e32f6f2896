// DirectPaths: bytes from server to server that do not pass through this process.
//
//   auto sent = DirectPaths::of(fleet).copy({to, target}, {from, source}, bytes);
//   if (!sent) …                                  // the way through here, then
//
// Where both servers list each other (farcall-server --peers), the receiver gives this client a
// ticket for the bytes and the sender takes it there, over a link of their own
// (transport/api/hand_direct.h). Whatever stands in the way of that (no such list, no route, a link
// that breaks) costs this way and nothing else: the receiver is asked to let nothing in any more,
// and the caller copies as if it had not been tried. A pair of servers for which it failed
// limits::kDirectFailuresMax times in a row is not tried again.
// FARCALL_STATS counts direct_push of the sender, and copy_through_client of the receiver.
// Owner: the process, as of the fleet.  Threads: any; no lock is held over a round trip.
#pragma once
#include <array>
#include <map>
#include <optional>

#include "client_shim/client.h"
#include "transport/api/hand_direct.h"
#include "transport/base/limits_direct.h"

namespace farcall::shim {

class Fleet;

class DirectPaths {
 public:
  // Those of a fleet, made when they are first asked for.
  static DirectPaths& of(Fleet& fleet);
  explicit DirectPaths(Fleet& fleet) : fleet_(fleet) {}

  struct End {
    Client& client;
    CUdeviceptr at;
  };
  // Waits until all has landed. Nothing: none of it will any more, and nobody has been told.
  // Errors: those of earlier calls of this thread, and of a link to one of the servers.
  std::optional<CUresult> copy(End to, End from, std::size_t bytes);

 private:
  using Outcome = api::hand::DirectOutcome;
  struct Server {
    bool is_known = false;
    std::optional<api::hand::DirectFacts> facts;  // none: it talks to no others
  };
  struct State {
    std::array<Server, limits::kServersMax> servers;
    std::map<std::pair<unsigned, unsigned>, int> failures;  // in a row, by sender and receiver
  };
  // Nothing: it talks to no others.
  std::optional<api::hand::DirectFacts> facts_of(Client& client, CUresult* result);
  bool is_tried(const Client& from, const Client& to);
  void note(const Client& from, const Client& to, Outcome outcome);

  Fleet& fleet_;
  DirectPaths* next_ = nullptr;  // in the list of all: see of()
  Guarded<State> state_;
};

}  // namespace farcall::shim
