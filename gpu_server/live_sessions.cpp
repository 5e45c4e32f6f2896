#include "gpu_server/live_sessions.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

namespace farcall::server {

LiveSessions::Place::Place(LiveSessions& all, const security::PeerIdentity& client, const Id& id)
    : all_(all) {
  Entry entry;
  entry.id = id;
  entry.parties.push_back(client);
  entry.end = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  auto entries = all_.entries_.lock();
  at_ = entries->insert(entries->end(), std::move(entry));
}

LiveSessions::Place::~Place() { all_.entries_.lock()->erase(at_); }

// The descriptor does not change while the place lives, and nobody else reads `at_`.
bool LiveSessions::Place::is_sound() const { return static_cast<bool>(at_->end); }
int LiveSessions::Place::fd() const { return at_->end.get(); }

Status LiveSessions::Place::why() const {
  auto entries = all_.entries_.lock();
  return at_->why;
}

void LiveSessions::Entry::add(const security::PeerIdentity& server) {
  const auto same = [&](const security::PeerIdentity& one) {
    return one.serial == server.serial && one.issuer == server.issuer;
  };
  if (std::none_of(parties.begin(), parties.end(), same)) parties.push_back(server);
}

void LiveSessions::Place::link(const security::PeerIdentity& server) {
  auto entries = all_.entries_.lock();
  at_->add(server);
}

void LiveSessions::link(const Id& id, const security::PeerIdentity& server) {
  auto entries = entries_.lock();
  for (Entry& entry : *entries) {
    if (entry.id == id) entry.add(server);
  }
}

std::size_t LiveSessions::end_where(Verdict verdict) {
  std::size_t ended = 0;
  auto entries = entries_.lock();
  for (Entry& entry : *entries) {
    if (!entry.why.ok()) continue;
    for (const security::PeerIdentity& party : entry.parties) {
      Status good = verdict(party);
      if (good.ok()) continue;
      entry.why = std::move(good);
      const std::uint64_t one = 1;
      static_cast<void>(!::write(entry.end.get(), &one, sizeof one));
      ++ended;
      break;
    }
  }
  return ended;
}

}  // namespace farcall::server
