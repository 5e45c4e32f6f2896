// ServedSession: a client's end of a session whose other end is a real Executor with a driver that
// the test makes up.
//
//   ServedSession session(driver);
//   Reply reply = session.ask(row::cuEventQuery::info().id, body(id));
//   CHECK(reply.status == CUDA_SUCCESS);
//
// The link is the loopback pair: real frames, real sealing. The executor has a thread of its own.
// Threads: one, unless a test says otherwise.
#pragma once
#include <doctest/doctest.h>

#include <cstring>
#include <functional>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "gpu_server/executor.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/link/session.h"

namespace farcall::server {

using Bytes = std::vector<std::byte>;

// The values back to back.
template <class... T>
Bytes body(const T&... values) {
  Bytes bytes;
  auto append = [&bytes](const auto& value) {
    auto raw = std::as_bytes(std::span(&value, 1));
    bytes.insert(bytes.end(), raw.begin(), raw.end());
  };
  (append(values), ...);
  return bytes;
}

struct Reply {
  wire::FrameHeader head;
  CUresult status = CUDA_ERROR_UNKNOWN;
  Bytes answers;  // what stands behind the status
  template <class T>
  T get(std::size_t at = 0) const {
    T value{};
    REQUIRE(answers.size() >= at + sizeof(T));
    std::memcpy(static_cast<void*>(&value), answers.data() + at, sizeof(T));
    return value;
  }
};

class ServedSession {
 public:
  // before_answers: the executor's; may be empty.
  // ledger: of the session's lease; facts: where it counts what it does; both may be null.
  explicit ServedSession(const api::Driver& driver, std::function<void()> before_answers = {},
                         Ledger* ledger = nullptr, Facts* facts = nullptr)
      : driver_(driver) {
    auto pair = link::make_loopback_session_pair();
    REQUIRE(pair.ok());
    client_ = std::move(pair.value().client);
    server_ = std::move(pair.value().server);
    executor_ = std::make_unique<Executor>(driver_, *server_);
    executor_->overlap_copies(true);  // also where there are two cores
    executor_->before_answers(std::move(before_answers));
    if (ledger != nullptr) executor_->use_ledger(ledger);
    if (facts != nullptr) executor_->use_facts(facts);
    thread_ = std::thread([this] { ended_ = executor_->run(); });
  }
  ~ServedSession() { (void)end(); }

  // Closes the link and says why the executor stopped.
  Status end() {
    client_->close(Status(Code::kClosed, "the test is over"));
    return wait();
  }
  // Waits for the executor to stop by itself.
  Status wait() {
    if (thread_.joinable()) thread_.join();
    return ended_;
  }

  Status post(std::uint16_t id, const Bytes& bytes, std::uint32_t thread = 1,
              std::uint16_t flags = 0) {
    wire::FrameHeader head{.id = id, .flags = flags, .thread = thread};
    auto encode = [&](wire::Writer& out) { out.bytes(bytes.data(), bytes.size()); };
    return client_->post(head, link::Flush::kNow, encode).status();
  }
  Status post_bulk(std::uint16_t id, const Bytes& bytes, std::span<const std::byte> payload,
                   std::uint32_t thread = 1, std::uint16_t flags = 0) {
    wire::FrameHeader head{.id = id, .flags = flags, .thread = thread};
    auto encode = [&](wire::Writer& out) { out.bytes(bytes.data(), bytes.size()); };
    return client_->post_bulk(head, encode, payload).status();
  }
  // The next reply, whosever it is.
  Reply receive() {
    Reply reply;
    auto frame = client_->receive(Deadline::after(system_clock(), 20'000));
    if (!frame.ok()) {
      FAIL_CHECK(frame.status().to_string());
      return reply;
    }
    wire::Reader in(frame.value().body);
    reply.head = frame.value().head;
    if (reply.head.id == api::row::failed_earlier::info().id) {
      earlier = in.get<api::hand::FailedEarlier>();
      CHECK(in.done());
      earlier_thread = reply.head.thread;
      return receive();
    }
    if (reply.head.id == api::row::events_done::info().id) {
      wire::Reader events(frame.value().body);
      while (events.left() > 0) told.push_back(events.get<api::hand::EventDone>());
      CHECK(events.done());
      return receive();
    }
    reply.status = static_cast<CUresult>(in.get<std::uint32_t>());
    auto rest = in.rest();
    reply.answers.assign(rest.begin(), rest.end());
    return reply;
  }
  Reply ask(std::uint16_t id, const Bytes& bytes, std::uint32_t thread = 1) {
    REQUIRE(post(id, bytes, thread, wire::kWantsReply).ok());
    return receive();
  }

  // What events_done notices said.
  std::vector<api::hand::EventDone> told;
  // The last failed_earlier notice that was received.
  std::optional<api::hand::FailedEarlier> earlier;
  std::uint32_t earlier_thread = 0;

  link::Session& client() { return *client_; }
  Executor& executor() { return *executor_; }

 private:
  const api::Driver driver_;
  std::unique_ptr<link::Session> client_;
  std::unique_ptr<link::Session> server_;
  std::unique_ptr<Executor> executor_;
  std::thread thread_;
  Status ended_;
};

}  // namespace farcall::server
