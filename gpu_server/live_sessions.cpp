#include "gpu_server/live_sessions.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <utility>

namespace farcall::server {

LiveSessions::Place::Place(LiveSessions& all, const security::PeerIdentity& client, const Id& id)
    : all_(all) {
  Entry entry;
  entry.id = id;
  entry.member = security::identity_uri(client);
  entry.good_until = client.not_after;
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

void LiveSessions::Entry::add(const security::PeerIdentity& party) {
  const auto same = [&](const security::PeerIdentity& one) {
    return one.serial == party.serial && one.issuer == party.issuer;
  };
  if (std::none_of(parties.begin(), parties.end(), same)) parties.push_back(party);
}

void LiveSessions::Entry::finish(Status reason) {
  why = std::move(reason);
  const std::uint64_t one = 1;
  static_cast<void>(!::write(end.get(), &one, sizeof one));
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
      entry.finish(std::move(good));
      ++ended;
      break;
    }
  }
  return ended;
}

void LiveSessions::vouch(const security::PeerIdentity& who) {
  const std::string member = security::identity_uri(who);
  auto entries = entries_.lock();
  for (Entry& entry : *entries) {
    if (entry.member != member || who.not_after <= entry.good_until) continue;
    // What has expired is on nobody's list any more, and a session may see many renewals.
    std::erase_if(entry.parties, [&](const security::PeerIdentity& one) {
      return one.kind == security::IdentityKind::kClient && one.not_after < std::time(nullptr);
    });
    entry.good_until = who.not_after;
    entry.add(who);
  }
}

std::size_t LiveSessions::end_expired(std::int64_t now) {
  std::size_t ended = 0;
  auto entries = entries_.lock();
  for (Entry& entry : *entries) {
    if (!entry.why.ok() || entry.good_until == 0 || entry.good_until > now) continue;
    entry.finish({Code::kDenied, "your certificate expired on " +
                                     security::date_text(entry.good_until) +
                                     " and no renewed one was shown here: renew it in time"});
    ++ended;
  }
  return ended;
}

}  // namespace farcall::server
