// LyingWorld: as World, but what the server answers can be changed on its way.
//
//   LyingWorld world(driver);                        // honest
//   world.lie([](std::vector<std::byte>& body) { body.resize(2); });
//   CHECK(cuMemAlloc_v2(&address, 1) != CUDA_SUCCESS);
//   CHECK(world.lies() == 1);
//
// A second session stands between: everything the client sends goes on to a real server, whose
// replies pass through the lie. A payload that a reply announces is cut off: the link ends there.
// Threads: one LyingWorld or World at a time.
#pragma once
#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "client_shim/process.h"
#include "gpu_server/executor.h"
#include "transport/base/guarded.h"

namespace farcall::shim {

class LyingWorld {
 public:
  // Changes the body of a reply, its status word included.
  using Lie = std::function<void(std::vector<std::byte>& body)>;

  explicit LyingWorld(const api::Driver& driver) : driver_(driver) {
    forget_client_for_test();
    auto outer = link::make_loopback_session_pair();
    auto inner = link::make_loopback_session_pair();
    REQUIRE(outer.ok());
    REQUIRE(inner.ok());
    waiting() = std::move(outer->client);
    to_client_ = std::move(outer->server);
    to_server_ = std::move(inner->client);
    server_ = std::move(inner->server);
    executor_ = std::make_unique<server::Executor>(driver_, *server_);
    serving_ = std::thread([this] { (void)executor_->run(); });
    asking_ = std::thread([this] { hand_on_requests(); });
    answering_ = std::thread([this] { hand_on_replies(); });
    Settings settings;
    settings.server = "loopback";
    set_connect_for_test(connect, settings);
    REQUIRE(cuInit(0) == CUDA_SUCCESS);
  }
  ~LyingWorld() {
    forget_client_for_test();
    const Status over(Code::kClosed, "the test is over");
    to_client_->close(over);
    to_server_->close(over);
    server_->close(over);
    for (std::thread* each : {&asking_, &answering_, &serving_}) each->join();
    set_connect_for_test(nullptr, {});
  }
  LyingWorld(const LyingWorld&) = delete;
  LyingWorld& operator=(const LyingWorld&) = delete;

  // From here on; null: honest again.
  void lie(Lie how) {
    *lie_.lock() = std::move(how);
    lies_ = 0;
  }
  int lies() const { return lies_; }
  // The client has seen through it.
  bool is_over() const { return !current_client()->session().closed().ok(); }

 private:
  static std::unique_ptr<link::Session>& waiting() {
    static std::unique_ptr<link::Session> session;
    return session;
  }
  static Result<std::unique_ptr<link::Session>> connect(const Settings&) {
    if (waiting() == nullptr) return Status(Code::kClosed, "one session each world");
    return std::move(waiting());
  }

  void hand_on_requests() {
    while (true) {
      auto frame = to_client_->receive(Deadline::never());
      if (!frame.ok()) break;
      wire::FrameHeader head = frame->head;
      head.call = 0;
      auto encode = [&](wire::Writer& out) { out.bytes(frame->body.data(), frame->body.size()); };
      if ((head.flags & wire::kBulkFollows) == 0) {
        if (!to_server_->post(head, link::Flush::kNow, encode).ok()) break;
        continue;
      }
      wire::Reader in(frame->body);
      std::vector<std::byte> payload(in.get<std::uint64_t>());
      if (!to_client_->bulk_read(payload).ok()) break;
      if (!to_server_->post_bulk(head, encode, payload).ok()) break;
    }
    to_server_->close(Status(Code::kClosed, "the client is gone"));
  }

  void hand_on_replies() {
    while (true) {
      auto frame = to_server_->receive(Deadline::never());
      if (!frame.ok()) break;
      std::vector<std::byte> body(frame->body.begin(), frame->body.end());
      if (auto how = lie_.lock(); *how) {
        (*how)(body);
        ++lies_;
      }
      auto encode = [&](wire::Writer& out) { out.bytes(body.data(), body.size()); };
      wire::FrameHeader head = frame->head;
      if (!to_client_->post(head, link::Flush::kNow, encode).ok()) break;
      if ((head.flags & wire::kBulkFollows) != 0) break;
    }
    to_client_->close(Status(Code::kClosed, "the server is gone"));
  }

  const api::Driver driver_;
  std::unique_ptr<link::Session> to_client_;
  std::unique_ptr<link::Session> to_server_;
  std::unique_ptr<link::Session> server_;
  std::unique_ptr<server::Executor> executor_;
  std::thread serving_;
  std::thread asking_;
  std::thread answering_;
  Guarded<Lie> lie_;
  std::atomic<int> lies_{0};
};

}  // namespace farcall::shim
