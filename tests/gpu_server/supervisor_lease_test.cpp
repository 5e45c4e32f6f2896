// A supervisor that lets nobody in without a lease, its workers for real, over loopback TCP.
// Whose lease holds when, on a clock of the test's own: admission_test.cpp.
#include <doctest/doctest.h>

#include <ctime>

#include "gpu_server/supervisor.h"
#include "tests/gpu_server/dialling.h"
#include "tests/gpu_server/served_session.h"
#include "tests/security/lease_issuer.h"
#include "tests/security/test_pool.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;
using farcall::testing::LeaseIssuer;
using farcall::testing::TestPool;

class LeasedServer {
 public:
  LeasedServer() {
    issuer_.revoke(1, {});
    SupervisorOptions options;
    options.identity = pool_.server();
    options.worker = {.worker_path = FARCALL_BIN "/farcall-worker",
                      .driver_path = FARCALL_TEST_DRIVER};
    options.hello = {.table_fingerprint = 17, .version = "test"};
    options.admission.keys_path = issuer_.path("lease.pub");
    options.admission.revoked_path = issuer_.path("revoked.leases");
    options.compress = true;
    auto opened = Supervisor::open(options);
    REQUIRE_MESSAGE(opened.ok(), opened.status().to_string());
    server_ = std::move(opened).value();
    thread_ = std::thread([this] { (void)server_->run(-1); });
  }
  ~LeasedServer() {
    server_->stop();
    thread_.join();
  }

  // An hour from now on, for the pool's client.
  security::LeaseToken lease() const {
    security::LeaseToken lease = LeaseIssuer::sample();
    lease.holder = security::key_hash_of(pool_.client().certificate_path).value();
    lease.devices.clear();
    lease.families = ~std::uint64_t{0};
    lease.not_before = std::time(nullptr) - 1;
    lease.expires = lease.not_before + 3600;
    return lease;
  }
  // Writes it to a file of its own.
  std::string file_of(const security::LeaseToken& lease) {
    const std::string path = issuer_.path(std::to_string(++files_) + ".lease");
    REQUIRE(security::save_lease(issuer_.sign(lease), path).ok());
    return path;
  }
  link::DialOptions options(const std::string& lease_path) const {
    link::DialOptions options = options_for(server_->port(), pool_.client());
    options.lease_path = lease_path;
    return options;
  }
  const LeaseIssuer& issuer() const { return issuer_; }
  Supervisor& operator*() { return *server_; }

 private:
  TestPool pool_;
  LeaseIssuer issuer_;
  int files_ = 0;
  std::unique_ptr<Supervisor> server_;
  std::thread thread_;
};

CUresult ask(link::Session& session, std::uint16_t id, const Bytes& bytes) {
  wire::FrameHeader head{.id = id, .flags = wire::kWantsReply, .thread = 1};
  auto encode = [&](wire::Writer& out) { out.bytes(bytes.data(), bytes.size()); };
  if (!session.post(head, link::Flush::kNow, encode).ok()) return CUDA_ERROR_UNKNOWN;
  for (;;) {
    auto frame = session.receive(Deadline::after(system_clock(), 10'000));
    if (!frame.ok()) return CUDA_ERROR_UNKNOWN;
    if (frame->head.call == 0) continue;  // what is printed
    return static_cast<CUresult>(wire::Reader(frame->body).get<std::uint32_t>());
  }
}

TEST_CASE("a supervisor with lease keys lets nobody in without a lease, and says what to do") {
  LeasedServer server;
  const Status bare = link::dial(server.options(""), nullptr).status();
  CHECK(bare.code() == Code::kDenied);
  CHECK_MESSAGE(bare.text().find("without a lease") != std::string::npos, bare.text());
  security::LeaseToken elsewhere = server.lease();
  elsewhere.server = "gpu2";
  const std::string wrong = server.file_of(elsewhere);
  const Status other = link::dial(server.options(wrong), nullptr).status();
  CHECK_MESSAGE(other.text().find(wrong + " is for gpu2") != std::string::npos, other.text());
  auto session = link::dial(server.options(server.file_of(server.lease())), nullptr);
  REQUIRE_MESSAGE(session.ok(), session.status().to_string());
  CHECK(ask(*session.value(), row::cuInit::info().id,
            body(hand::OpenRequest{hand::kOpenVersion, 0})) == CUDA_SUCCESS);
}

TEST_CASE("a worker carries out what the lease grants and refuses the rest, and lives on") {
  LeasedServer server;
  security::LeaseToken lease = server.lease();
  lease.families = ~(std::uint64_t{1} << wire::family(row::cuMemAlloc_v2::info().id));
  auto session = link::dial(server.options(server.file_of(lease)), nullptr);
  REQUIRE_MESSAGE(session.ok(), session.status().to_string());
  const Bytes open = body(hand::OpenRequest{hand::kOpenVersion, 0});
  REQUIRE(ask(*session.value(), row::cuInit::info().id, open) == CUDA_SUCCESS);
  const Bytes bytes = body(std::uint64_t{64});
  for (int i = 0; i < 3; ++i) {
    CHECK(ask(*session.value(), row::cuMemAlloc_v2::info().id, bytes) == CUDA_ERROR_NOT_PERMITTED);
  }
  CHECK(ask(*session.value(), row::cuInit::info().id, open) == CUDA_SUCCESS);
}

TEST_CASE("a session whose lease is taken back ends, and its client learns why") {
  LeasedServer server;
  const security::LeaseToken lease = server.lease();
  const std::string file = server.file_of(lease);
  auto session = link::dial(server.options(file), nullptr);
  REQUIRE_MESSAGE(session.ok(), session.status().to_string());
  server.issuer().revoke(2, {lease.id});
  const Status end = session.value()->receive(Deadline::after(system_clock(), 20'000)).status();
  CHECK(end.code() == Code::kDenied);
  CHECK_MESSAGE(end.text().find("the lease was taken back") != std::string::npos, end.text());
  CHECK(link::dial(server.options(file), nullptr).status().text().find("taken back") !=
        std::string::npos);
}

TEST_CASE("the sizes of confidential data do not show: it is not compressed") {
  LeasedServer server;
  for (auto data_class : {security::DataClass::kInternal, security::DataClass::kConfidential}) {
    security::LeaseToken lease = server.lease();
    lease.data_class = data_class;
    link::DialOptions options = server.options(server.file_of(lease));
    options.compress = link::Compress::kOn;
    link::HelloInfo info;
    auto session = link::dial(options, &info);
    REQUIRE_MESSAGE(session.ok(), session.status().to_string());
    CHECK(info.compress == (data_class == security::DataClass::kInternal));
  }
}

}  // namespace
}  // namespace farcall::server
