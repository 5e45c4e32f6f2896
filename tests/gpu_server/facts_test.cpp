// What a worker tells its supervisor: counted where it happens, never waited for, never believed.
#include "gpu_server/facts.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "gpu_server/audit_facts.h"
#include "security/audit_line.h"
#include "security/crypto.h"
#include "security/digest.h"
#include "tests/gpu_server/fake_driver.h"
#include "tests/gpu_server/served_session.h"
#include "transport/cuda/image.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;

// Both ends, as supervisor and worker have them.
struct Ends {
  Ends() {
    auto opened = SessionFacts::open();
    REQUIRE(opened.ok());
    supervisor = std::move(opened).value();
    auto joined = Facts::join(Fd(::dup(supervisor->page_fd())), Fd(::dup(supervisor->pipe_fd())));
    REQUIRE(joined.ok());
    worker = std::move(joined).value();
    supervisor->worker_has_them();
  }
  std::vector<ModuleFact> take(std::int64_t now_ms) {
    std::vector<ModuleFact> all;
    sound = supervisor->take(now_ms, [&](const ModuleFact& fact) { all.push_back(fact); });
    return all;
  }
  std::unique_ptr<SessionFacts> supervisor;
  std::unique_ptr<Facts> worker;
  Status sound;
};

AuditedSession session_of(const security::PeerIdentity& who) {
  return {.who = &who, .from = "10.0.0.7:1", .id = "abcd", .lease = "lease 12"};
}

TEST_CASE("what a client does is counted, and what it loads is told by its digest") {
  FakeDriver fake;
  api::Driver driver = fake.table();
  driver.cuModuleLoadDataEx = [](CUmodule* module, const void*, unsigned, CUjit_option*, void**) {
    return *module = reinterpret_cast<CUmodule>(0x200), CUDA_SUCCESS;
  };
  Ends ends;
  auto packed = cuda::pack_image(".version 7.0");
  REQUIRE(packed.ok());
  {
    ServedSession session(driver, {}, nullptr, ends.worker.get());
    CHECK(session.ask(row::cuInit::info().id, body(hand::OpenRequest{hand::kOpenVersion, 0}))
              .status == CUDA_SUCCESS);
    for (std::uint64_t guess = 1; guess <= 5; ++guess) {
      CHECK(session.ask(row::cuEventQuery::info().id, body(guess << 40)).status ==
            CUDA_ERROR_INVALID_HANDLE);
    }
    hand::LoadImage head{};
    head.payload_bytes = packed->size();
    REQUIRE(session
                .post_bulk(row::cuModuleLoadData::info().id, body(head), packed.value(), 1,
                           wire::kWantsReply)
                .ok());
    CHECK(session.receive().status == CUDA_SUCCESS);
  }
  const Tallies told = ends.supervisor->tallies();
  CHECK(told[Tally::kCalls] == 7);
  CHECK(told[Tally::kUnknownHandles] == 5);
  CHECK(told[Tally::kBytesIn] > packed->size());
  CHECK(told[Tally::kBytesOut] >= 7 * sizeof(std::uint32_t));
  CHECK(told[Tally::kSealedRecords] >= 8);  // with two to confirm the lanes
  CHECK(told[Tally::kOpenedBytes] > packed->size());
  CHECK(told[Tally::kSealNs] > 0);
  CHECK(told[Tally::kOpenNs] > 0);
  const auto modules = ends.take(1'000);
  REQUIRE(modules.size() == 1);
  CHECK(modules[0] == ModuleFact{.form = ImageFact::kPtx,
                                 .loaded = true,
                                 .bytes = packed->size(),
                                 .sha256 = security::sha256(packed.value())});
}

TEST_CASE("a pipe nobody empties holds up no call, and what did not fit is told as a number") {
  Ends ends;
  constexpr int kLoads = 5'000;
  for (int i = 0; i < kLoads; ++i) ends.worker->module({.bytes = static_cast<std::uint64_t>(i)});
  const std::uint64_t lost = ends.worker->read()[Tally::kModulesLost];
  CHECK(lost > 0);
  const auto first = ends.take(1'000);
  CHECK(first.size() == std::min<std::size_t>(limits::kFactsAtOnce, kLoads - lost));
  for (std::size_t i = 0; i < first.size(); ++i) CHECK(first[i].bytes == i);
  // What a hostile worker goes on to say is taken a record a second.
  for (int i = 0; i < kLoads; ++i) ends.worker->module({});
  CHECK(ends.take(1'000).empty());
  CHECK(ends.supervisor->fd(1'000) == -1);
  CHECK(ends.supervisor->fd(4'000) >= 0);
  CHECK(ends.take(4'000).size() == 3);
  std::size_t rest = 0;
  ends.supervisor->take_rest([&](const ModuleFact&) { ++rest; });
  CHECK(first.size() + 3 + rest + ends.supervisor->lost() == 2 * kLoads);
}

TEST_CASE("a worker that has been taken over can end its stream and take nothing back") {
  Ends ends;
  ends.worker->count(Tally::kUnknownHandles, 70);
  CHECK(ends.supervisor->tallies()[Tally::kUnknownHandles] == 70);
  ends.worker->set(Tally::kUnknownHandles, 0);
  CHECK(ends.supervisor->tallies()[Tally::kUnknownHandles] == 70);
  ends.worker->module({.bytes = 1});
  const std::string noise(100, 'x');
  const std::string link = "/proc/self/fd/" + std::to_string(ends.supervisor->fd(0));
  const Fd pipe(::open(link.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  REQUIRE(::write(pipe.get(), noise.data(), noise.size()) == 100);
  ends.worker->module({.bytes = 2});
  CHECK(ends.take(1).size() == 1);
  CHECK(ends.sound.code() == Code::kMalformed);
  CHECK(ends.take(2).empty());
  CHECK(ends.sound.ok());  // told once
  CHECK(ends.supervisor->fd(3) == -1);
  // A page that is none of ours is not joined.
  CHECK(Facts::join(Fd(::open("/dev/null", O_RDWR | O_CLOEXEC)), Fd()).status().code() ==
        Code::kMalformed);
}

TEST_CASE("totals name lease and numbers, and a worker that could not tell has not wiped") {
  security::PeerIdentity who;
  who.pool = "lab";
  who.tenant = "acme";
  who.user = "ann";
  const AuditedSession session = session_of(who);
  Facts facts;
  facts.take_memory(4096);
  facts.take_memory(1024);
  facts.give_back_memory(1 << 20);
  facts.take_memory(100);
  facts.count(Tally::kRefusedMemory, 3);
  facts.set(Tally::kSealNs, 1'234'567);
  auto records = records_of_totals(session, facts.read(), {.lost = 7, .ran_ms = 2'000});
  REQUIRE(records.size() == 5);
  CHECK(records[0].kind == security::audit::kQuotaExceeded);
  CHECK(security::detail(records[1], "bytes") == "5120");
  CHECK(security::detail(records[1], "allocations") == "3");
  CHECK(records[2].kind == security::audit::kScrub);
  CHECK(records[2].outcome == security::AuditOutcome::kFailed);
  CHECK(records[3].kind == security::audit::kSessionTotals);
  CHECK(security::detail(records[3], "modules_lost") == "7");
  CHECK(records[4].kind == security::audit::kSessionCost);
  CHECK(security::detail(records[4], "ran_ms") == "2000");
  CHECK(security::detail(records[4], "seal_us") == "1234");
  for (const security::AuditRecord& each : records) {
    CHECK(each.lease == "lease 12");
    CHECK(each.tenant == "acme");
    CHECK(security::detail(each, "session") == "abcd");
    CHECK(security::encode_fields(each).ok());
  }
  facts.set(Tally::kScrubTold, 1);
  CHECK(records_of_totals(session, facts.read(), {})[2].outcome == security::AuditOutcome::kOk);
  facts.set(Tally::kScrubFailures, 1);
  CHECK(records_of_totals(session, facts.read(), {})[2].outcome == security::AuditOutcome::kFailed);
}

TEST_CASE("a digest is SHA-256's") {
  const std::string text = "abc";
  CHECK(security::to_hex(security::sha256(std::as_bytes(std::span(text)))) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace farcall::server
