#include "gpu_server/ledger_book.h"

#include <algorithm>
#include <utility>

#include "transport/base/log.h"

namespace farcall::server {
namespace {

std::size_t sessions_max(const LeaseLimits& limits) {
  if (limits.sessions_max == kNoLimit) return limits::kLeaseSessionsMax;
  return std::min<std::size_t>(limits.sessions_max, limits::kLeaseSessionsMax);
}

// What the lease held at most, for whoever sizes the next one.
void tell_peaks(const std::string& lease, const Ledger& ledger) {
  for (int device = 0; device < static_cast<int>(limits::kLeaseDevicesMax); ++device) {
    const std::uint64_t peak = ledger.peak({Account::kMemory, device});
    if (peak == 0) continue;
    FARCALL_LOG_INFO("lease of %s: at most %llu MiB of device %d at a time", lease.c_str(),
                     static_cast<unsigned long long>(peak >> 20), device);
  }
}

}  // namespace

LeaseSeat::LeaseSeat(LeaseSeat&& other) noexcept
    : book_(std::exchange(other.book_, nullptr)),
      lease_(std::move(other.lease_)),
      ledger_(other.ledger_),
      doorbell_(other.doorbell_),
      slot_(other.slot_) {}

LeaseSeat::~LeaseSeat() {
  if (book_ != nullptr) book_->leave(lease_, slot_);
}

Result<LeaseSeat> LeaseBook::no_seat(const Ledger& ledger) {
  return Status(Code::kOverQuota,
                "the lease has all " + std::to_string(sessions_max(ledger.limits())) +
                    " of its sessions in use; end one of its programs, or ask for more sessions");
}

Result<LeaseSeat> LeaseBook::enter(const std::string& name, const LeaseLimits& limits,
                                   int wait_ms) {
  auto leases = leases_.lock();
  const auto has_seat = [&](const Leases& all) {
    auto found = all.find(name);
    return found == all.end() ||
           found->second.sessions < sessions_max(found->second.ledger->limits());
  };
  if (!leases.wait_for(left_, wait_ms, has_seat)) return no_seat(*leases->at(name).ledger);
  auto found = leases->find(name);
  if (found == leases->end()) {
    if (leases->size() >= limits::kLeasesMax) {
      return Status(Code::kOverQuota, "the server has all " + std::to_string(limits::kLeasesMax) +
                                          " leases in use; try again later");
    }
    auto ledger = Ledger::create(limits);
    if (!ledger.ok()) return ledger.status();
    Result<int> doorbell = keeper_.join(*ledger.value());
    if (!doorbell.ok()) return doorbell.status();
    Lease lease{std::move(ledger).value(), doorbell.value()};
    found = leases->emplace(name, std::move(lease)).first;
  }
  Lease& lease = found->second;
  std::optional<unsigned> slot = lease.ledger->take_slot();
  if (!slot) return no_seat(*lease.ledger);
  ++lease.sessions;
  return LeaseSeat(*this, name, *lease.ledger, lease.doorbell, *slot);
}

void LeaseBook::leave(const std::string& name, unsigned slot) {
  std::unique_ptr<Ledger> last;
  {
    auto leases = leases_.lock();
    auto found = leases->find(name);
    if (found == leases->end()) return;
    found->second.ledger->leave(slot);
    left_.notify_all();
    if (--found->second.sessions > 0) return keeper_.poke();  // it may have had its turn
    last = std::move(found->second.ledger);
    leases->erase(found);
  }
  keeper_.leave(*last);
  tell_peaks(name, *last);
}

std::size_t LeaseBook::sessions(const std::string& name) {
  auto leases = leases_.lock();
  auto found = leases->find(name);
  return found == leases->end() ? 0 : found->second.sessions;
}

}  // namespace farcall::server
