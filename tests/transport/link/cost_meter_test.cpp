// What encryption costs, as samples tell it.
#include "transport/link/cost_meter.h"

#include <doctest/doctest.h>

#include <thread>
#include <vector>

#include "transport/link/security_cost.h"

namespace farcall::link {
namespace {

// Records whose cost is known: `ns_of` their bytes.
template <typename Cost>
double measured(CostMeter& meter, const std::vector<std::size_t>& records, Cost ns_of) {
  double truth = 0;
  for (const std::size_t bytes : records) {
    const auto ns = static_cast<std::int64_t>(ns_of(bytes));
    truth += static_cast<double>(ns);
    const CostSample sample = meter.count(bytes);
    meter.take(sample, sample.timed ? ns : -1);
  }
  return static_cast<double>(meter.read().ns) / truth;
}

TEST_CASE("samples sum up to what all records took, whatever their mix") {
  const auto evp = [](std::size_t bytes) { return 190.0 + static_cast<double>(bytes) / 4.4; };
  const auto ipsec = [](std::size_t bytes) { return 29.0 + static_cast<double>(bytes) / 10.5; };
  std::vector<std::size_t> calls;
  std::vector<std::size_t> mixed;
  for (std::size_t i = 0; i < 20'000; ++i) {
    calls.push_back(i % 64 == 0 ? 9'000 : 40 + i % 100);  // in step with the mean gap
    mixed.push_back(i % 2 == 0 ? 262'144 : i % 3 == 0 ? 65'536 : 32 + i % 4'096);
  }
  for (const auto& records : {calls, mixed}) {
    CostMeter one;
    CHECK(measured(one, records, evp) == doctest::Approx(1).epsilon(0.05));
    CostMeter other;
    CHECK(measured(other, records, ipsec) == doctest::Approx(1).epsilon(0.05));
    CHECK(one.read().records == records.size());
  }
}

TEST_CASE("few records are timed, the first ones more often") {
  CostMeter meter;
  int timed = 0;
  for (int i = 0; i < 64'000; ++i) timed += meter.count(100).timed ? 1 : 0;
  CHECK(timed > 500);
  CHECK(timed < 64'000 / 64 * 2);
  CostMeter young;
  CHECK(young.count(100).timed);
  CHECK(young.count(100'000).timed);
}

TEST_CASE("a short record that was interrupted is no measure") {
  CostMeter meter;
  CostSample sample = meter.count(100);
  meter.take(sample, 50);
  const std::uint64_t before = meter.read().ns;
  CHECK(before > 0);
  sample.timed = true;
  meter.take(sample, 4'000'000);
  CHECK(meter.read().ns == before);
}

TEST_CASE("a session's cost counts both lanes, both ways, and helpers' work") {
  Result<SessionPair> made = make_loopback_session_pair();
  REQUIRE(made.ok());
  Session& client = *made->client;
  Session& server = *made->server;
  const std::vector<std::byte> payload(8 << 20);
  wire::FrameHeader head{.id = 1, .flags = 0, .thread = 1};
  REQUIRE(client
              .post_bulk(
                  head, [](wire::Writer& out) { out.put(std::uint64_t{1}); }, payload)
              .ok());
  REQUIRE(server.receive(Deadline::never()).ok());
  std::vector<std::byte> room(payload.size());
  REQUIRE(server.bulk_read(room).ok());
  const SecurityCost sent = security_cost(client);
  const SecurityCost got = security_cost(server);
  CHECK(sent.sealed.bytes > payload.size());
  CHECK(sent.sealed.bytes == got.opened.bytes);
  CHECK(sent.sealed.records == got.opened.records);
  CHECK(sent.sealed.ns > 0);
  CHECK(got.opened.ns > 0);
  CHECK(sent.ns() == sent.sealed.ns + sent.opened.ns);
}

}  // namespace
}  // namespace farcall::link
