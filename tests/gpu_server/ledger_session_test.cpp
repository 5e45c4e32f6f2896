// A greedy client against the limits of its lease: it gets an error, and another lease goes on.
#include <doctest/doctest.h>

#include "gpu_server/late_staging.h"
#include "gpu_server/ledger.h"
#include "tests/gpu_server/fake_driver.h"
#include "tests/gpu_server/served_session.h"
#include "transport/cuda/image.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;

std::unique_ptr<Ledger> ledger_of(const LeaseLimits& limits) {
  auto ledger = Ledger::create(limits);
  REQUIRE(ledger.ok());
  return std::move(ledger).value();
}

std::uint64_t open(ServedSession& session) {
  Reply opened =
      session.ask(row::cuInit::info().id, body(hand::OpenRequest{hand::kOpenVersion, 0}));
  REQUIRE(opened.status == CUDA_SUCCESS);
  return opened.get<hand::DeviceFacts>(sizeof(hand::OpenReply)).primary_context;
}

CUresult ask_stream(ServedSession& session, std::uint32_t thread) {
  return session.ask(row::cuStreamQuery::info().id, body(std::uint64_t{0}), thread).status;
}

TEST_CASE("one client thread more than the lease allows gets errors, the others go on") {
  FakeDriver fake;
  LeaseLimits limits;
  limits.threads_max = 2;
  auto ledger = ledger_of(limits);
  ServedSession greedy(fake.table(), {}, ledger.get());
  ServedSession other(fake.table());
  const std::uint64_t context = open(greedy);  // thread 1
  open(other);
  CHECK(ask_stream(greedy, 2) == CUDA_SUCCESS);
  CHECK(ask_stream(greedy, 3) == CUDA_ERROR_OUT_OF_MEMORY);
  REQUIRE(greedy.post(row::bind_context::info().id, body(context), 3).ok());
  CHECK(ask_stream(greedy, 3) == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(ask_stream(greedy, 1) == CUDA_SUCCESS);
  CHECK(ask_stream(other, 3) == CUDA_SUCCESS);
  CHECK(greedy.end().code() == Code::kClosed);
}

TEST_CASE("one handle more than the lease allows is an error, and a freed one makes room") {
  FakeDriver fake;
  LeaseLimits limits;
  limits.handles_max = 6;  // two of them are the devices' primary contexts
  auto ledger = ledger_of(limits);
  ServedSession greedy(fake.table(), {}, ledger.get());
  ServedSession other(fake.table());
  open(greedy);
  open(other);
  const auto create = [](ServedSession& session, std::uint64_t id) {
    return session.ask(row::cuEventCreate::info().id, body(0x5000 + id, 0u)).status;
  };
  for (std::uint64_t id = 1; id <= 4; ++id) CHECK(create(greedy, id) == CUDA_SUCCESS);
  CHECK(create(greedy, 5) == CUDA_ERROR_OUT_OF_MEMORY);
  for (std::uint64_t id = 1; id <= 8; ++id) CHECK(create(other, id) == CUDA_SUCCESS);
  CHECK(greedy.ask(row::cuEventDestroy_v2::info().id, body(std::uint64_t{0x5002})).status ==
        CUDA_SUCCESS);
  CHECK(create(greedy, 5) == CUDA_SUCCESS);
}

TEST_CASE("code beyond what the lease may have loaded is refused before it is read") {
  FakeDriver fake;
  api::Driver driver = fake.table();
  driver.cuModuleLoadDataEx = [](CUmodule* module, const void*, unsigned, CUjit_option*, void**) {
    return *module = reinterpret_cast<CUmodule>(0x200), CUDA_SUCCESS;
  };
  LeaseLimits limits;
  limits.image_bytes_max = 1000;
  auto ledger = ledger_of(limits);
  ServedSession greedy(driver, {}, ledger.get());
  open(greedy);
  const auto load = [&](std::size_t bytes) {
    // Packed as the client does it: one bare part.
    std::string text(bytes, ' ');
    auto packed = cuda::pack_image(text.c_str());
    REQUIRE(packed.ok());
    hand::LoadImage head{};
    head.payload_bytes = packed.value().size();
    REQUIRE(greedy
                .post_bulk(row::cuModuleLoadData::info().id, body(head), packed.value(), 1,
                           wire::kWantsReply)
                .ok());
    Reply reply = greedy.receive();
    return reply.status;
  };
  CHECK(load(500) == CUDA_SUCCESS);
  CHECK(load(5000) == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(load(500) == CUDA_SUCCESS);              // the payload that was refused has left the lane
  CHECK(ledger->held({Account::kImages}) == 0);  // on its way nothing is left
}

TEST_CASE("host memory for copies under way is bounded by the lease, over its sessions") {
  FakeDriver fake;
  api::Driver driver = fake.table();
  LeaseLimits limits;
  limits.in_flight_bytes_max = 2 * limits::kLateCopyBytesMax;
  auto ledger = ledger_of(limits);
  auto of_another = ledger_of(limits);
  {
    LateStaging first(driver), second(driver), another(driver);
    first.use_ledger(ledger.get());
    second.use_ledger(ledger.get());
    another.use_ledger(of_another.get());
    std::vector<LateStaging::Piece> held, more;
    const auto take = [](LateStaging& from, std::vector<LateStaging::Piece>* pieces) {
      return from.take(LateStaging::Use::kCopy, limits::kLateCopyBytesMax, nullptr, pieces);
    };
    CHECK(take(first, &held) == CUDA_SUCCESS);
    CHECK(take(first, &held) == CUDA_SUCCESS);
    CHECK(take(second, &more) == CUDA_ERROR_OUT_OF_MEMORY);
    CHECK(more.empty());
    CHECK(take(another, &more) == CUDA_SUCCESS);
    CHECK(ledger->held({Account::kInFlight}) == 2 * limits::kLateCopyBytesMax);
  }
  CHECK(ledger->held({Account::kInFlight}) == 0);
}

}  // namespace
}  // namespace farcall::server
