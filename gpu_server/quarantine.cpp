#include "gpu_server/quarantine.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "gpu_server/quarantine_file.h"
#include "transport/base/log.h"

namespace farcall::server {
namespace {

bool is_of(const QuarantineCase& one, const security::PeerIdentity& who, const std::string& lease) {
  if (!lease.empty() && one.lease == lease) return true;
  return one.who.tenant == who.tenant && one.who.user == who.user;
}

}  // namespace

bool stands(const QuarantineCase& one) {
  return one.state == CaseState::kFrozen || one.state == CaseState::kEnded;
}

std::string_view name_of(CaseState state) {
  switch (state) {
    case CaseState::kFrozen: return "frozen";
    case CaseState::kReleased: return "released";
    case CaseState::kEnded: return "ended";
    case CaseState::kClosed: break;
  }
  return "closed";
}

Quarantine::Ward::Ward(Quarantine& all, QuarantineCase facts) : all_(all) {
  Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  {
    auto entries = all_.entries_.lock();
    const auto before = std::count_if(entries->begin(), entries->end(), [&](const Entry& each) {
      return each.facts.session == facts.session;
    });
    facts.id = facts.session;
    if (before != 0) facts.id += "-" + std::to_string(before + 1);
    if (entries->size() >= limits::kQuarantineCasesMax) {
      const auto over = std::find_if(entries->begin(), entries->end(),
                                     [](const Entry& each) { return !stands(each.facts); });
      if (over != entries->end()) entries->erase(over);
    }
    at_ = entries->insert(entries->end(), Entry{std::move(facts), std::move(wake), Order::kNone});
  }
  all_.save();
}

Quarantine::Ward::~Ward() {
  auto entries = all_.entries_.lock();
  at_->wake.reset();
  if (at_->facts.state == CaseState::kFrozen) at_->facts.state = CaseState::kEnded;
}

// Neither changes while the ward lives.
std::string Quarantine::Ward::id() const { return at_->facts.id; }
int Quarantine::Ward::fd() const { return at_->wake.get(); }

Quarantine::Order Quarantine::Ward::take_order() {
  Order order;
  {
    auto entries = all_.entries_.lock();
    std::uint64_t count = 0;
    static_cast<void>(!::read(at_->wake.get(), &count, sizeof count));
    order = std::exchange(at_->order, Order::kNone);
    if (order == Order::kRelease) at_->facts.state = CaseState::kReleased;
  }
  if (order == Order::kRelease) all_.save();
  return order;
}

Status Quarantine::admits(const security::PeerIdentity& who, const std::string& lease) const {
  auto entries = entries_.lock();
  for (const Entry& each : *entries) {
    if (!stands(each.facts) || !is_of(each.facts, who, lease)) continue;
    return {Code::kDenied, "this client is in quarantine here since a session of it (case " +
                               each.facts.id +
                               ") behaved as none should; ask the server's operator to look at it"};
  }
  return ok();
}

Status Quarantine::order(const std::string& id, Order what) {
  bool is_closed = false;
  Status done = give_order(id, what, &is_closed);
  if (is_closed) save();
  return done;
}

Status Quarantine::give_order(const std::string& id, Order what, bool* is_closed) {
  auto entries = entries_.lock();
  const auto found = std::find_if(entries->begin(), entries->end(),
                                  [&](const Entry& each) { return each.facts.id == id; });
  if (found == entries->end()) return {Code::kNotFound, "there is no case " + id};
  QuarantineCase& facts = found->facts;
  if (facts.state == CaseState::kEnded && what == Order::kRelease) {
    facts.state = CaseState::kClosed;
    *is_closed = true;
    return ok();
  }
  if (facts.state != CaseState::kFrozen) {
    return {Code::kBusy, "case " + id + " is " + std::string(name_of(facts.state)) + " already"};
  }
  if (found->order != Order::kNone) return {Code::kBusy, "case " + id + " has its order already"};
  const std::uint64_t one = 1;
  if (::write(found->wake.get(), &one, sizeof one) != sizeof one) {
    return Status::system("tell the session's thread");
  }
  found->order = what;
  return ok();
}

Status Quarantine::keep_in(const std::string& path) {
  Result<std::vector<QuarantineCase>> kept = load_cases(path);
  if (!kept.ok()) return kept.status();
  auto entries = entries_.lock();
  for (QuarantineCase& one : kept.value()) entries->push_back({std::move(one), Fd(), Order::kNone});
  path_ = path;
  return ok();
}

void Quarantine::save() {
  if (path_.empty()) return;
  {
    auto saving = saving_.lock();
    saving->is_due = true;
    if (std::exchange(saving->is_under_way, true)) return;
  }
  for (;;) {
    {
      auto saving = saving_.lock();
      if (!std::exchange(saving->is_due, false)) {
        saving->is_under_way = false;
        return;
      }
    }
    const Status saved = save_cases(path_, cases());
    if (!saved.ok()) {
      FARCALL_LOG_WARN("who is in quarantine is not kept for the server's next start: %s",
                       saved.text().c_str());
    }
  }
}

std::vector<QuarantineCase> Quarantine::cases() const {
  auto entries = entries_.lock();
  std::vector<QuarantineCase> all;
  for (const Entry& each : *entries) all.push_back(each.facts);
  return all;
}

}  // namespace farcall::server
