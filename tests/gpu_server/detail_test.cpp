// A session is written down in detail while it is suspicious, from what its last calls left.
#include <doctest/doctest.h>

#include <unistd.h>

#include "gpu_server/call_notes.h"
#include "gpu_server/detail_watch.h"
#include "gpu_server/rows.h"
#include "gpu_server/session_facts.h"
#include "tests/gpu_server/fake_driver.h"
#include "tests/gpu_server/served_session.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;

std::uint16_t id_of_query() { return row::cuEventQuery::info().id; }

TEST_CASE("the last calls are kept, across the numbers' wrap, and no others") {
  auto notes = std::make_unique<CallNotes>();
  CHECK(notes->read().empty());
  CHECK(summary_of({}) == "none");
  std::uint32_t call = UINT32_MAX - 2'000;
  for (int i = 0; i < 4'000; ++i) {
    ++call;
    if (call == 0) ++call;  // no call's number
    notes->begin({.call = call, .id = id_of_query(), .thread = 7, .bytes = 8});
    if (i != 3'999) notes->end(call, i % 2 == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE);
  }
  notes->end(call - limits::kCallNotes, CUDA_SUCCESS);  // long gone: changes nobody else's
  const auto kept = notes->read();
  REQUIRE(kept.size() == limits::kCallNotes);
  for (std::size_t i = 0; i < kept.size(); ++i) {
    CHECK(kept[i].call == call - (kept.size() - 1 - i));
  }
  CHECK(kept.back() == CallNote{call, id_of_query(), 7, 8, kCallUnderWay});
  CHECK(to_text(kept.back()) ==
        "call " + std::to_string(call) + " of thread 7: cuEventQuery, 8 bytes: under way");
  CHECK(summary_of(kept) ==
        "512 cuEventQuery; 511 cuEventQuery: CUDA_ERROR_INVALID_HANDLE; 1 cuEventQuery: under way");
  notes->end(call, kCallBroken);
  notes->end(call - 1, kCallBroken);  // that one has ended
  CHECK(summary_of(notes->read()).ends_with("1 cuEventQuery: it broke the protocol"));
}

TEST_CASE("a summary is bounded, and counts what it has no room for") {
  std::vector<CallNote> notes;
  for (std::uint32_t i = 1; i <= 100; ++i) {
    notes.push_back({.call = i, .id = static_cast<std::uint16_t>(60'000 + i), .result = 7'000 + i});
  }
  const std::string text = summary_of(notes);
  CHECK(text.size() <= limits::kCallSummaryBytesMax);
  CHECK(text.starts_with("1 row 60001, which there is not: result 7001; "));
  CHECK(text.ends_with(" more"));
}

TEST_CASE("what a session called stands in its page, and how it ended") {
  FakeDriver fake;
  auto opened = SessionFacts::open();
  REQUIRE(opened.ok());
  SessionFacts& supervisor = *opened.value();
  auto worker = Facts::join(Fd(::dup(supervisor.page_fd())), Fd());
  REQUIRE(worker.ok());
  {
    api::Driver driver = fake.table();
    ServedSession session(driver, {}, nullptr, worker.value().get());
    CHECK(session.ask(row::cuInit::info().id, body(hand::OpenRequest{hand::kOpenVersion, 0}))
              .status == CUDA_SUCCESS);
    CHECK(session.ask(id_of_query(), body(std::uint64_t{3} << 40)).status ==
          CUDA_ERROR_INVALID_HANDLE);
  }
  const auto calls = supervisor.calls();
  REQUIRE(calls.size() == 2);
  CHECK(calls[0].id == row::cuInit::info().id);
  CHECK(calls[0].result == CUDA_SUCCESS);
  CHECK(calls[1] == CallNote{2, id_of_query(), 1, 8, CUDA_ERROR_INVALID_HANDLE});
}

TEST_CASE("detail rises at half a threshold, stays while there is more, and falls after a pause") {
  ContainmentRule rule;
  rule.most = {100, 5, 0, 0, 0, 0};
  DetailWatch watch(rule, 30);
  FeatureValues seen{49, 2, UINT64_MAX, 9, 9, 9};
  CHECK(watch.look(seen, 1'000) == DetailTurn::kStays);
  CHECK_FALSE(watch.is_detailed());
  seen[0] = 50;
  CHECK(watch.look(seen, 2'000) == DetailTurn::kRises);
  CHECK(watch.feature() == Feature::kUnknownHandles);
  CHECK(watch.most() == 100);
  seen[1] = 3;  // half of five, and more
  CHECK(watch.look(seen, 31'000) == DetailTurn::kStays);
  CHECK(watch.feature() == Feature::kRefusedCalls);
  // The window remembers; nothing more comes.
  CHECK(watch.look(seen, 60'999) == DetailTurn::kStays);
  CHECK(watch.is_detailed());
  CHECK(watch.look(seen, 61'000) == DetailTurn::kFalls);
  CHECK(watch.look(seen, 99'000) == DetailTurn::kStays);
  CHECK_FALSE(watch.is_detailed());
  ++seen[0];
  CHECK(watch.look(seen, 99'500) == DetailTurn::kRises);
  rule.most = {1, 0, 0, 0, 0, UINT64_MAX};
  DetailWatch strict(rule, 1);
  CHECK(strict.look({1, 9, 9, 9, 9, UINT64_MAX / 2}, 0) == DetailTurn::kRises);
}

}  // namespace
}  // namespace farcall::server
