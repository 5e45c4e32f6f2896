#include "gpu_server/printed_output.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/base/limits.h"

namespace farcall::server {
namespace {

// A descriptor of the test's own in the place of stdout.
class Spare {
 public:
  Spare() : fd_(::open("/dev/null", O_WRONLY | O_CLOEXEC)) {}
  ~Spare() { ::close(fd_); }
  int fd() const { return fd_; }

 private:
  int fd_;
};

std::string receive_text(link::Session& client, std::size_t bytes) {
  std::string text;
  while (text.size() < bytes) {
    auto frame = client.receive(Deadline::after(system_clock(), 10'000));
    REQUIRE(frame.ok());
    CHECK(frame.value().head.id == api::row::device_output::info().id);
    wire::Reader in(frame.value().body);
    auto head = in.get<api::hand::DeviceOutput>();
    CHECK(head.stream == 1);
    auto part = in.bytes(head.bytes);
    CHECK(in.done());
    text.append(reinterpret_cast<const char*>(part.data()), part.size());
  }
  return text;
}

TEST_CASE("what is printed arrives at the client, in order and whole") {
  auto pair = link::make_loopback_session_pair();
  REQUIRE(pair.ok());
  Spare out;
  auto printed = PrintedOutput::capture(out.fd(), *pair.value().server);
  REQUIRE(printed.ok());
  std::string all;
  for (int i = 0; i < 3000; ++i) {  // more than a pipe holds
    std::string line = "line " + std::to_string(i) + " of a kernel's output, which is not short\n";
    REQUIRE(::write(out.fd(), line.data(), line.size()) == static_cast<ssize_t>(line.size()));
    all += line;
  }
  printed.value()->forward();
  CHECK(receive_text(*pair.value().client, all.size()) == all);
}

TEST_CASE("what was printed before an answer arrives before it") {
  auto pair = link::make_loopback_session_pair();
  REQUIRE(pair.ok());
  Spare out;
  auto printed = PrintedOutput::capture(out.fd(), *pair.value().server);
  REQUIRE(printed.ok());
  for (int i = 0; i < 200; ++i) {
    REQUIRE(::write(out.fd(), "x", 1) == 1);
    printed.value()->forward();
    wire::FrameHeader answer{.id = 0x0204, .flags = wire::kReply, .call = 1, .thread = 1};
    REQUIRE(pair.value().server->post(answer, link::Flush::kNow, [](wire::Writer&) {}).ok());
    CHECK(receive_text(*pair.value().client, 1) == "x");
    CHECK(pair.value().client->receive(Deadline::after(system_clock(), 10'000)).value().head.id ==
          0x0204);
  }
}

TEST_CASE("output that nobody fetches is bounded, and the newest of it stays") {
  auto pair = link::make_loopback_session_pair();
  REQUIRE(pair.ok());
  Spare out;
  auto printed = PrintedOutput::capture(out.fd(), *pair.value().server);
  REQUIRE(printed.ok());
  std::string all;
  while (all.size() < 2 * limits::kPrintedBytesMax) {
    std::string line = "line " + std::to_string(all.size()) + "\n";
    REQUIRE(::write(out.fd(), line.data(), line.size()) == static_cast<ssize_t>(line.size()));
    all += line;
  }
  CHECK(pair.value().server->stats().frames_out == 0);  // nothing goes before it is asked for
  printed.value()->forward();
  CHECK(receive_text(*pair.value().client, limits::kPrintedBytesMax) ==
        all.substr(all.size() - limits::kPrintedBytesMax));
}

TEST_CASE("two outputs are looked at together, and what either has is sent") {
  auto pair = link::make_loopback_session_pair();
  REQUIRE(pair.ok());
  Spare left;
  Spare right;
  auto out = PrintedOutput::capture(left.fd(), *pair.value().server);
  auto err = PrintedOutput::capture(right.fd(), *pair.value().server);
  REQUIRE((out.ok() && err.ok()));
  for (int fd : {left.fd(), right.fd()}) {
    REQUIRE(::write(fd, "text", 4) == 4);
    PrintedOutput::forward(*out.value(), *err.value());
    CHECK(receive_text(*pair.value().client, 4) == "text");
  }
  const std::uint64_t sent = pair.value().server->stats().frames_out;
  PrintedOutput::forward(*out.value(), *err.value());
  CHECK(pair.value().server->stats().frames_out == sent);
}

TEST_CASE("output for a link that is gone goes nowhere and hurts nobody") {
  auto pair = link::make_loopback_session_pair();
  REQUIRE(pair.ok());
  Spare out;
  auto printed = PrintedOutput::capture(out.fd(), *pair.value().server);
  REQUIRE(printed.ok());
  pair.value().server->close(Status(Code::kClosed, "gone"));
  REQUIRE(::write(out.fd(), "x", 1) == 1);
  printed.value()->forward();
}

}  // namespace
}  // namespace farcall::server
