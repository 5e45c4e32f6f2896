// A supervisor in this process, its workers for real, TLS over loopback TCP, and a driver with
// nothing behind it. The program farcall-server: server_program_test.cpp.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <filesystem>
#include <fstream>

#include "gpu_server/check.h"
#include "gpu_server/supervisor.h"
#include "security/tls_channel.h"
#include "tests/gpu_server/dialling.h"
#include "tests/gpu_server/served_session.h"
#include "tests/security/test_pool.h"
#include "tests/support/switched.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/link/hello_io.h"
#include "transport/link/socket.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;
using farcall::testing::TestPool;

constexpr const char* kDriver = FARCALL_TEST_DRIVER;

std::int64_t now_ms() { return system_clock().now_ns() / 1'000'000; }

// A Supervisor in this process, whose workers are real processes.
class RunningServer {
 public:
  struct Limits {
    std::size_t sessions = 8;
    std::size_t strangers = 4;
    link::CarrierSet carriers = link::only(link::CarrierKind::kTcp);
    int handshake_ms = 10'000;
    std::size_t stripes = limits::kStripesMax;
    bool compress = false;
  };
  explicit RunningServer(const TestPool& pool) : RunningServer(pool, Limits{}) {}
  RunningServer(const TestPool& pool, const Limits& limits) {
    SupervisorOptions options;
    options.identity = pool.server();
    options.worker = {.worker_path = FARCALL_BIN "/farcall-worker", .driver_path = kDriver};
    options.hello = {.table_fingerprint = 17, .version = "test"};
    options.sessions_max = limits.sessions;
    options.strangers_max = limits.strangers;
    options.handshake_ms = limits.handshake_ms;
    options.carriers = limits.carriers;
    options.stripes_max = limits.stripes;
    options.compress = limits.compress;
    auto opened = Supervisor::open(options);
    REQUIRE_MESSAGE(opened.ok(), opened.status().to_string());
    server_ = std::move(opened).value();
    thread_ = std::thread([this] { (void)server_->run(-1); });
  }
  ~RunningServer() { stop(); }
  void stop() {
    server_->stop();
    if (thread_.joinable()) thread_.join();
  }
  Supervisor& operator*() { return *server_; }
  Supervisor* operator->() { return server_.get(); }

 private:
  std::unique_ptr<Supervisor> server_;
  std::thread thread_;
};

std::unique_ptr<link::Session> connect(RunningServer& server, const TestPool& pool) {
  auto session = dial(server->port(), pool.client());
  REQUIRE_MESSAGE(session.ok(), session.status().to_string());
  return std::move(session).value();
}

CUresult ask(link::Session& session, std::uint16_t id, const Bytes& bytes, Bytes* answers) {
  wire::FrameHeader head{.id = id, .flags = wire::kWantsReply, .thread = 1};
  auto encode = [&](wire::Writer& out) { out.bytes(bytes.data(), bytes.size()); };
  if (!session.post(head, link::Flush::kNow, encode).ok()) return CUDA_ERROR_UNKNOWN;
  auto frame = session.receive(Deadline::after(system_clock(), 10'000));
  if (!frame.ok()) return CUDA_ERROR_UNKNOWN;
  wire::Reader in(frame.value().body);
  auto status = static_cast<CUresult>(in.get<std::uint32_t>());
  if (answers != nullptr) {
    auto rest = in.rest();
    answers->assign(rest.begin(), rest.end());
  }
  return status;
}

void open(link::Session& session) {
  Bytes facts;
  REQUIRE(ask(session, row::cuInit::info().id, body(hand::OpenRequest{hand::kOpenVersion, 0}),
              &facts) == CUDA_SUCCESS);
  std::uint64_t context = 0;
  std::memcpy(&context, facts.data() + sizeof(hand::OpenReply), sizeof context);
  auto encode = [&](wire::Writer& out) { out.put(context); };
  REQUIRE(session.post({.id = row::bind_context::info().id, .thread = 1}, link::Flush::kNow, encode)
              .ok());
}

// The worker processes that this process has started and that still exist.
std::vector<pid_t> workers() {
  std::vector<pid_t> found;
  for (auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream stat(entry.path() / "stat");
    std::string pid, command, state, parent;
    if (!(stat >> pid >> command >> state >> parent)) continue;
    if (command == "(farcall-worker)" && std::stoi(parent) == ::getpid() && state != "Z") {
      found.push_back(std::stoi(pid));
    }
  }
  return found;
}

// Waits for the end of a process that is no child of ours to reap.
bool ends_within(pid_t pid, int ms) {
  Fd end(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!end) return true;
  pollfd wait{.fd = end.get(), .events = POLLIN, .revents = 0};
  return ::poll(&wait, 1, ms) == 1;
}

Fd connect_plainly(std::uint16_t port) {
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  return socket;
}

// True when the far end closes within the time.
bool is_closed_within(const Fd& socket, int ms) {
  std::int64_t until = now_ms() + ms;
  char byte;
  for (;;) {
    pollfd wait{.fd = socket.get(), .events = POLLIN, .revents = 0};
    if (::poll(&wait, 1, static_cast<int>(std::max<std::int64_t>(0, until - now_ms()))) != 1) {
      return false;
    }
    if (::recv(socket.get(), &byte, 1, 0) <= 0) return true;
  }
}

TEST_CASE("a client on the server's host gets shared memory, and TCP where it cannot be had") {
  const Switched all_on("");
  TestPool pool;
  RunningServer server(pool, {.carriers = link::kAllCarriers});
  link::HelloInfo info;
  auto session = link::dial(options_for(server->port(), pool.client()), &info);
  REQUIRE_MESSAGE(session.ok(), session.status().to_string());
  CHECK(info.carrier == link::CarrierKind::kShm);
  CHECK(session.value()->describe().starts_with("shm, "));
  open(*session.value());
  link::DialOptions insists = options_for(server->port(), pool.client());
  insists.carrier = link::CarrierKind::kTcp;
  auto over_tcp = link::dial(insists, &info);
  REQUIRE_MESSAGE(over_tcp.ok(), over_tcp.status().to_string());
  CHECK(info.carrier == link::CarrierKind::kTcp);
}

TEST_CASE("a client that insists on a carrier this server lacks is told what there is") {
  TestPool pool;
  RunningServer server(pool);
  link::DialOptions options = options_for(server->port(), pool.client());
  options.carrier = link::CarrierKind::kShm;
  Status refused = link::dial(options, nullptr).status();
  CHECK(refused.code() == Code::kDenied);
  CHECK_MESSAGE(
      refused.text().find("the client takes shm, this server offers tcp") != std::string::npos,
      refused.text());
}

TEST_CASE("a session gets the connections it asks for, as far as the server allows") {
  Switched all_on("");
  TestPool pool;
  RunningServer server(pool, {.strangers = 16, .stripes = 3});
  struct {
    std::size_t asked, granted;
  } const cases[] = {{1, 1}, {2, 2}, {8, 3}};
  for (const auto& [asked, granted] : cases) {
    link::DialOptions options = options_for(server->port(), pool.client());
    options.stripes = asked;
    auto session = link::dial(options, nullptr);
    REQUIRE_MESSAGE(session.ok(), session.status().to_string());
    CHECK(session.value()->stats().bulk_connections == granted);
    open(*session.value());
    Bytes address;
    REQUIRE(ask(*session.value(), row::cuMemAlloc_v2::info().id, body(std::uint64_t{1} << 20),
                &address) == CUDA_SUCCESS);
  }
}

TEST_CASE("payloads are compressed where client and server want it") {
  TestPool pool;
  for (bool allowed : {false, true}) {
    RunningServer server(pool, {.compress = allowed});
    for (link::Compress wish : {link::Compress::kOff, link::Compress::kOn}) {
      link::DialOptions options = options_for(server->port(), pool.client());
      options.compress = wish;
      link::HelloInfo info;
      auto session = link::dial(options, &info);
      REQUIRE_MESSAGE(session.ok(), session.status().to_string());
      CHECK(info.compress == (allowed && wish == link::Compress::kOn));
      open(*session.value());
    }
  }
}

TEST_CASE("a server without stripes grants one connection") {
  TestPool pool;
  RunningServer server(pool, {.stripes = 1});
  link::DialOptions options = options_for(server->port(), pool.client());
  options.stripes = 8;
  auto session = link::dial(options, nullptr);
  REQUIRE_MESSAGE(session.ok(), session.status().to_string());
  CHECK(session.value()->stats().bulk_connections == 1);
}

TEST_CASE("a lane desk takes each connection once, and only those it expects") {
  LaneDesk desk;
  const link::SessionId id = link::make_session_id();
  const auto deliver = [&](std::uint8_t connection, link::CarrierKind kind) {
    return desk.deliver({connection, id}, kind, Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)))
        .code();
  };
  const auto here = [] { return false; };
  CHECK(deliver(0, link::CarrierKind::kTcp) == Code::kNotFound);
  desk.expect(id, link::CarrierKind::kTcp, 2);
  CHECK(deliver(3, link::CarrierKind::kTcp) == Code::kNotFound);
  CHECK(deliver(1, link::CarrierKind::kShm) == Code::kNotFound);
  for (const auto connection : {std::uint8_t{2}, std::uint8_t{0}}) {
    CHECK(deliver(connection, link::CarrierKind::kTcp) == Code::kOk);
    CHECK(deliver(connection, link::CarrierKind::kTcp) == Code::kNotFound);
  }
  SUBCASE("all but one are not enough") {
    CHECK(desk.await(id, Deadline::after(system_clock(), 1), here).status().code() ==
          Code::kTimeout);
  }
  SUBCASE("all of them are a session") {
    CHECK(deliver(1, link::CarrierKind::kTcp) == Code::kOk);
    auto all = desk.await(id, Deadline::after(system_clock(), 10'000), here);
    REQUIRE(all.ok());
    CHECK(all.value().calls);
    CHECK(all.value().bulk.size() == 2);
  }
  // Either way the session is not expected any more.
  CHECK(deliver(1, link::CarrierKind::kTcp) == Code::kNotFound);
  CHECK(desk.await(id, Deadline::after(system_clock(), 1), here).status().code() == Code::kTimeout);
}

TEST_CASE("a client that leaves before its lanes came is not waited for") {
  TestPool pool;
  RunningServer server(pool, {.sessions = 1, .handshake_ms = 600'000});
  const Deadline deadline = Deadline::after(system_clock(), 10'000);
  auto tls = security::TlsContext::load(pool.client(), security::TlsContext::Side::kClient);
  REQUIRE(tls.ok());
  auto socket = link::connect_tcp("127.0.0.1", server->port(), deadline);
  REQUIRE(socket.ok());
  auto control =
      security::TlsChannel::connect(std::move(socket).value(), tls.value(), "127.0.0.1", deadline);
  REQUIRE_MESSAGE(control.ok(), control.status().to_string());
  link::ClientHello hello;
  hello.table_fingerprint = 17;
  REQUIRE(link::send_hello(*control.value(), hello, deadline).ok());
  link::HelloRoom room;
  REQUIRE(link::receive_hello(*control.value(), room, deadline).ok());
  const auto started = workers();
  REQUIRE(started.size() == 1);
  control.value().reset();
  CHECK(ends_within(started[0], 10'000));
}

TEST_CASE("where shared memory is for lanes, nothing else is listened to") {
  TestPool pool;
  RunningServer server(pool, {.carriers = link::kAllCarriers});
  REQUIRE_FALSE(server->local_name().empty());
  auto stranger = link::connect_abstract(server->local_name());
  REQUIRE(stranger.ok());
  // The start of a TLS handshake.
  REQUIRE(::send(stranger.value().get(), "\x16\x03\x01", 3, MSG_NOSIGNAL) == 3);
  CHECK(is_closed_within(stranger.value(), 5'000));
}

TEST_CASE("a client's calls reach a driver in a process of its own") {
  TestPool pool;
  RunningServer server(pool);
  auto session = connect(server, pool);
  open(*session);
  Bytes answer;
  REQUIRE(ask(*session, row::cuMemAlloc_v2::info().id, body(std::uint64_t{4096}), &answer) ==
          CUDA_SUCCESS);
  CUdeviceptr address = 0;
  std::memcpy(&address, answer.data(), sizeof address);
  Bytes request = body(hand::CopyToDevice{5, address, 0});
  for (char letter : {'h', 'e', 'l', 'l', 'o'}) request.push_back(static_cast<std::byte>(letter));
  CHECK(ask(*session, row::cuMemcpyHtoD_v2::info().id, request, nullptr) == CUDA_SUCCESS);
  CHECK(ask(*session, row::cuMemcpyDtoH_v2::info().id, body(hand::CopyFromDevice{address, 5, 0}),
            &answer) == CUDA_SUCCESS);
  if (answer.size() == 8) {  // the bytes come by the bulk lane, without inline-copy
    answer.resize(13);
    REQUIRE(session->bulk_read(std::span(answer).subspan(8)).ok());
  }
  CHECK(std::memcmp(answer.data() + 8, "hello", 5) == 0);
  CHECK(workers().size() == 1);
  CHECK(server->sessions() == 1);
}

TEST_CASE("a worker ends with its client, even when its driver never returns") {
  TestPool pool;
  RunningServer server(pool);
  for (bool stuck : {false, true}) {
    CAPTURE(stuck);
    auto session = connect(server, pool);
    open(*session);
    auto running = workers();
    REQUIRE(running.size() == 1);
    if (stuck) {
      wire::FrameHeader head{
          .id = row::cuCtxSynchronize::info().id, .flags = wire::kWantsReply, .thread = 1};
      REQUIRE(session->post(head, link::Flush::kNow, [](wire::Writer&) {}).ok());
    }
    session.reset();
    CHECK(ends_within(running[0], 10'000));  // it takes half a second, and more on a busy machine
  }
}

TEST_CASE("a worker that dies takes its own session down and no other") {
  TestPool pool;
  RunningServer server(pool);
  auto one = connect(server, pool);
  auto two = connect(server, pool);
  open(*one);
  open(*two);
  wire::FrameHeader head{.id = row::cuCtxResetPersistingL2Cache::info().id, .thread = 1};
  REQUIRE(one->post(head, link::Flush::kNow, [](wire::Writer&) {}).ok());
  auto frame = one->receive(Deadline::after(system_clock(), 5'000));
  CHECK(frame.status().code() == Code::kClosed);
  CHECK(ask(*two, row::cuStreamQuery::info().id, body(std::uint64_t{0}), nullptr) == CUDA_SUCCESS);
}

TEST_CASE("stopping the server ends its workers") {
  TestPool pool;
  RunningServer server(pool);
  auto session = connect(server, pool);
  open(*session);
  auto running = workers();
  REQUIRE(running.size() == 1);
  std::int64_t began = now_ms();
  server.stop();
  CHECK(now_ms() - began < 2000);
  CHECK(ends_within(running[0], 0));
  CHECK(session->receive(Deadline::after(system_clock(), 5'000)).status().code() == Code::kClosed);
}

TEST_CASE("certificates that do not belong are refused, and good ones served after them") {
  TestPool pool;
  TestPool other("elsewhere");
  RunningServer server(pool);
  security::IdentityFiles foreign = other.client();
  foreign.ca_path = pool.client().ca_path;
  security::IdentityFiles old = pool.issue("old", TestPool::expired(TestPool::client_options()));
  for (const auto& identity : {foreign, old, pool.server()}) {
    CAPTURE(identity.certificate_path);
    auto session = dial(server->port(), identity);
    CHECK_FALSE(session.ok());
    CHECK(server->sessions() == 0);
  }
  CHECK(workers().empty());
  auto session = connect(server, pool);
  open(*session);
}

TEST_CASE("garbage is closed, and a lane that nobody expects as well") {
  TestPool pool;
  RunningServer server(pool);
  Bytes noise(300, std::byte{0x41});
  Bytes tls_like = body(std::uint8_t{0x16}, std::uint8_t{3}, std::uint8_t{1}, std::uint64_t{~0ull});
  tls_like.resize(400);
  Bytes lane(link::kLaneHelloBytes);
  link::encode(link::LaneHello{0, link::make_session_id()},
               std::span<std::byte, link::kLaneHelloBytes>(lane));
  for (const Bytes& bytes : {noise, tls_like, lane}) {
    Fd socket = connect_plainly(server->port());
    REQUIRE(::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0);
    CHECK(is_closed_within(socket, 5'000));
  }
  auto session = connect(server, pool);
  open(*session);
}

TEST_CASE("silent strangers are few, and do not stay") {
  TestPool pool;
  RunningServer server(pool, {.strangers = 2, .handshake_ms = 300});
  Fd one = connect_plainly(server->port());
  Fd two = connect_plainly(server->port());
  // The third is closed at once or, should the first two not be seen yet, like them.
  Fd three = connect_plainly(server->port());
  for (const Fd* socket : {&three, &one, &two}) CHECK(is_closed_within(*socket, 5'000));
  auto session = connect(server, pool);
  open(*session);
}

TEST_CASE("a client beyond the last session is told so") {
  TestPool pool;
  RunningServer server(pool, {.sessions = 1});
  auto one = connect(server, pool);
  auto two = dial(server->port(), pool.client());
  REQUIRE_FALSE(two.ok());
  CHECK(two.status().text().find("sessions in use") != std::string::npos);
}

TEST_CASE("a worker that cannot be started is an answer, not a silence") {
  TestPool pool;
  SupervisorOptions options;
  options.identity = pool.server();
  options.worker = {.worker_path = "/does/not/exist", .driver_path = kDriver};
  options.hello = {.table_fingerprint = 17, .version = "test"};
  auto server = Supervisor::open(options);
  REQUIRE(server.ok());
  std::thread thread([&] { (void)server.value()->run(-1); });
  auto session = dial(server.value()->port(), pool.client());
  CHECK_FALSE(session.ok());
  CHECK(session.status().text().find("worker") != std::string::npos);
  server.value()->stop();
  thread.join();
}

TEST_CASE("the environment of a worker holds what a driver needs and no preloads or caches") {
  const char* const from[] = {"PATH=/bin",
                              "LD_PRELOAD=/x.so",
                              "HOME=/root",
                              "CUDA_VISIBLE_DEVICES=1",
                              "CUDA_CACHE_PATH=/tmp",
                              "FARCALL_LOG=debug",
                              "SECRET=1",
                              nullptr};
  CHECK(worker_environment(from) == std::vector<std::string>{"PATH=/bin", "CUDA_VISIBLE_DEVICES=1",
                                                             "FARCALL_LOG=debug",
                                                             "CUDA_CACHE_DISABLE=1"});
}

TEST_CASE("addresses are host and port") {
  SupervisorOptions options;
  CHECK(parse_address("[::1]:80", &options).ok());
  CHECK(options.host == "::1");
  CHECK(options.port == 80);
  for (const char* bad : {"", ":", "host", "host:", ":80", "host:x", "host:70000", "[]:80"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_address(bad, &options).ok());
  }
}

}  // namespace
}  // namespace farcall::server
