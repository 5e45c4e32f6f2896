#include "gpu_server/direct_tickets.h"

#include "security/crypto.h"
#include "transport/base/limits_direct.h"

namespace farcall::server {

DirectTickets::Entry* DirectTickets::find(Entries& entries, const Ticket& ticket) {
  Entry* found = nullptr;
  for (Entry& entry : entries) {
    if (is_same_ticket(entry.ticket, ticket)) found = &entry;
  }
  return found;
}

DirectTickets::Entry* DirectTickets::find_good(Entries& entries, const Ticket& ticket,
                                               const std::string& sender) {
  Entry* entry = find(entries, ticket);
  const bool is_good = entry != nullptr && entry->stage == Stage::kWaiting &&
                       entry->what.sender == sender && clock_.now_ns() < entry->until_ns;
  return is_good ? entry : nullptr;
}

Result<Ticket> DirectTickets::expect(Expected what) {
  Entry entry;
  security::fill_random(entry.ticket);
  entry.what = std::move(what);
  const std::int64_t now_ns = clock_.now_ns();
  entry.until_ns = now_ns + limits::kDirectTicketMs * 1'000'000;
  auto entries = entries_.lock();
  // Of clients that never settled.
  std::erase_if(*entries, [&](const Entry& old) {
    return old.stage == Stage::kWaiting && old.until_ns <= now_ns;
  });
  if (entries->size() >= limits::kDirectTicketsMax) {
    return Status(Code::kBusy, "too many copies are expected from other servers");
  }
  entries->push_back(std::move(entry));
  return entries->back().ticket;
}

bool DirectTickets::is_good(const Ticket& ticket, const std::string& sender) {
  return find_good(*entries_.lock(), ticket, sender) != nullptr;
}

std::optional<Expected> DirectTickets::claim(const Ticket& ticket, const std::string& sender,
                                             std::uint64_t bytes) {
  auto entries = entries_.lock();
  Entry* entry = find_good(*entries, ticket, sender);
  if (entry == nullptr || entry->what.bytes != bytes) return std::nullopt;
  entry->stage = Stage::kLanding;
  return entry->what;
}

void DirectTickets::landed(const Ticket& ticket, Outcome result) {
  auto entries = entries_.lock();
  Entry* entry = find(*entries, ticket);
  if (entry == nullptr) return;
  entry->stage = Stage::kOver;
  entry->result = result;
  landed_.notify_all();
}

Outcome DirectTickets::settle(const Ticket& ticket) {
  auto entries = entries_.lock();
  entries.wait(landed_, [&](Entries& now) {
    const Entry* entry = find(now, ticket);
    return entry == nullptr || entry->stage != Stage::kLanding;
  });
  Entry* entry = find(*entries, ticket);
  if (entry == nullptr) return Outcome::kNotUsed;
  const Outcome result = entry->result;
  entries->erase(entries->begin() + (entry - entries->data()));
  return result;
}

}  // namespace farcall::server
