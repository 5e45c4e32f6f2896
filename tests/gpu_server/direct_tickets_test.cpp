#include "gpu_server/direct_tickets.h"

#include <doctest/doctest.h>

#include <thread>

#include "transport/base/limits_direct.h"

using namespace farcall;
using namespace farcall::server;

namespace {

struct FakeClock : Clock {
  std::int64_t now = 0;
  std::int64_t now_ns() const override { return now; }
};

Ticket expect(DirectTickets& tickets, std::uint64_t bytes = 1000) {
  auto ticket = tickets.expect({.context_id = 1, .address = 0x1000, .bytes = bytes, .sender = "a"});
  REQUIRE(ticket.ok());
  return ticket.value();
}

}  // namespace

TEST_CASE("a ticket is good once, for its sender and its bytes") {
  FakeClock clock;
  DirectTickets tickets(clock);
  const Ticket ticket = expect(tickets);
  CHECK(tickets.is_good(ticket, "a"));
  CHECK_FALSE(tickets.is_good(ticket, "b"));
  CHECK_FALSE(tickets.claim(ticket, "b", 1000));
  CHECK_FALSE(tickets.claim(ticket, "a", 1001));
  CHECK_FALSE(tickets.claim(ticket, "a", 999));
  Ticket edited = ticket;
  edited[31] ^= std::byte{1};
  CHECK_FALSE(tickets.claim(edited, "a", 1000));
  auto claimed = tickets.claim(ticket, "a", 1000);
  REQUIRE(claimed);
  CHECK(claimed->address == 0x1000);
  CHECK_FALSE(tickets.claim(ticket, "a", 1000));  // replayed
  CHECK_FALSE(tickets.is_good(ticket, "a"));
  tickets.landed(ticket, Outcome::kDone);
  CHECK_FALSE(tickets.claim(ticket, "a", 1000));
  CHECK(tickets.settle(ticket) == Outcome::kDone);
  CHECK(tickets.settle(ticket) == Outcome::kNotUsed);
}

TEST_CASE("a ticket is good for a short time, and for none once it is settled") {
  FakeClock clock;
  DirectTickets tickets(clock);
  const Ticket late = expect(tickets);
  clock.now = limits::kDirectTicketMs * 1'000'000;
  CHECK_FALSE(tickets.claim(late, "a", 1000));
  const Ticket given_up = expect(tickets);
  CHECK(tickets.settle(given_up) == Outcome::kNotUsed);
  CHECK_FALSE(tickets.claim(given_up, "a", 1000));
}

TEST_CASE("only so many tickets are out, and those nobody settles make room in time") {
  FakeClock clock;
  DirectTickets tickets(clock);
  for (std::size_t i = 0; i < limits::kDirectTicketsMax; ++i) (void)expect(tickets);
  CHECK(tickets.expect({1, 0x1000, 1, "a"}).status().code() == Code::kBusy);
  clock.now = limits::kDirectTicketMs * 1'000'000;
  CHECK(tickets.expect({1, 0x1000, 1, "a"}).ok());
}

TEST_CASE("who settles waits for what is landing") {
  DirectTickets tickets(system_clock());
  const Ticket ticket = expect(tickets);
  REQUIRE(tickets.claim(ticket, "a", 1000));
  Outcome seen = Outcome::kDone;
  std::thread settling([&] { seen = tickets.settle(ticket); });
  tickets.landed(ticket, Outcome::kNoLink);
  settling.join();
  CHECK(seen == Outcome::kNoLink);
}
