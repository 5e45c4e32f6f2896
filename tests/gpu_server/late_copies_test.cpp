// Staging that copies nobody waits for share with loans.
#include "gpu_server/late_copies.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "tests/gpu_server/fake_driver.h"
#include "tests/gpu_server/served_session.h"
#include "tests/support/switched.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;

// While it is true, all streams are behind a kernel that does not end.
std::atomic<bool> g_held{false};

api::Driver with_events(FakeDriver& fake) {
  api::Driver driver = fake.table();
  driver.cuEventRecord = [](CUevent, CUstream) { return CUDA_SUCCESS; };
  driver.cuEventSynchronize = [](CUevent) { return CUDA_SUCCESS; };
  driver.cuEventQuery = [](CUevent) { return g_held ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS; };
  return driver;
}

// As many as there are to be had, of one granule each.
std::vector<LateCopies::Loan> borrow_all(LateCopies& late) {
  std::vector<LateCopies::Loan> loans;
  for (LateCopies::Loan loan; late.lend(1, &loan); loan = {}) loans.push_back(loan);
  return loans;
}

TEST_CASE("loans leave copies the staging that they were promised") {
  g_held = true;
  FakeDriver fake(1);
  const api::Driver driver = with_events(fake);
  auto pair = link::make_loopback_session_pair();
  REQUIRE(pair.ok());
  LateCopies late(driver, *pair.value().server);

  std::vector<LateCopies::Loan> loans = borrow_all(late);
  const std::size_t lent = loans.size();
  CHECK(lent > 0);
  for (const LateCopies::Loan& loan : loans) late.take_back(loan);
  loans = borrow_all(late);
  CHECK(loans.size() == lent);
  for (LateCopies::Loan& loan : loans) late.take_back_later(std::move(loan));

  constexpr std::size_t kPromised =
      (limits::kLateBytesMax + limits::kLateCopyBytesMax) / limits::kLateGranuleBytes;
  std::size_t refused = 0;
  for (std::size_t i = 1; i <= kPromised; ++i) {
    if (late.start({i, FakeDriver::kBase, 1, nullptr}) != CUDA_SUCCESS) ++refused;
  }
  CHECK(refused == 0);
  CHECK_FALSE(late.is_full());
}

TEST_CASE("copies to the client go on when many copies to the device are behind a kernel") {
  Switched all_on("");
  g_held = true;
  FakeDriver fake(limits::kLateCopyBytesMax);
  std::fill(fake.memory.begin(), fake.memory.end(), std::byte{7});
  ServedSession session(with_events(fake));
  const Bytes payload(limits::kCopyChunkBytes, std::byte{7});
  const Bytes in = body(
      hand::CopyToDevice{.payload_bytes = payload.size(), .dst = FakeDriver::kBase, .stream = 0});
  constexpr std::size_t kCopiesIn = limits::kLateStagingBytesMax / limits::kCopyChunkBytes + 8;
  for (std::size_t i = 0; i < kCopiesIn; ++i) {
    REQUIRE(session.post_bulk(row::cuMemcpyHtoDAsync_v2::info().id, in, payload).ok());
  }
  constexpr std::size_t kCopiesOut = limits::kLateBytesMax / limits::kLateCopyBytesMax;
  for (std::uint64_t landing = 1; landing <= kCopiesOut; ++landing) {
    const Bytes out =
        body(hand::CopyFromDevice{FakeDriver::kBase, limits::kLateCopyBytesMax, 0, landing});
    REQUIRE(session.post(row::cuMemcpyDtoHAsync_v2::info().id, out).ok());
  }
  const std::uint16_t query = row::cuStreamQuery::info().id;
  Reply reply = session.ask(query, body(std::uint64_t{0}));
  CHECK(reply.head.id == query);  // nothing has landed, or failed
  REQUIRE(reply.status == CUDA_SUCCESS);
  g_held = false;
  REQUIRE(session.post(query, body(std::uint64_t{0}), 1, wire::kWantsReply).ok());
  Bytes landed(limits::kLateCopyBytesMax);
  for (std::uint64_t landing = 1; landing <= kCopiesOut; ++landing) {
    Reply notice = session.receive();
    REQUIRE(notice.status == CUDA_SUCCESS);
    REQUIRE(notice.head.id == row::copy_landed::info().id);
    CHECK(notice.get<hand::CopyLanded>(8).landing == landing);
    REQUIRE(session.client().bulk_read(landed).ok());
    const bool same = std::memcmp(landed.data(), fake.memory.data(), landed.size()) == 0;
    CHECK(same);
  }
  CHECK(session.receive().head.id == query);
}

}  // namespace
}  // namespace farcall::server
