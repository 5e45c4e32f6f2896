#include <doctest/doctest.h>
#include <fcntl.h>

#include <thread>
#include <vector>

#include "transport/base/check.h"
#include "transport/base/clock.h"
#include "transport/base/function_ref.h"
#include "transport/base/guarded.h"
#include "transport/base/log.h"
#include "transport/base/switches.h"
#include "transport/base/unique.h"

using namespace farcall;

namespace {

struct FakeClock : Clock {
  std::int64_t at_ns = 0;
  std::int64_t now_ns() const override { return at_ns; }
};

std::string g_failure;
void note_failure(const char*, int, const char* condition, const std::string& values) {
  g_failure = std::string(condition) + " with " + values;
}

std::string read_all(int fd) {
  char text[4096];
  const ssize_t bytes = ::read(fd, text, sizeof text);
  return std::string(text, bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
}

}  // namespace

TEST_CASE("a deadline passes when its clock says so, and never passes when it is never") {
  FakeClock clock;
  Deadline deadline = Deadline::after(clock, 10);
  CHECK_FALSE(deadline.passed());
  CHECK(deadline.left_ms() == 10);
  clock.at_ns = 9'500'000;
  CHECK(deadline.left_ms() == 1);
  clock.at_ns = 10'000'000;
  CHECK(deadline.passed());
  CHECK(deadline.left_ms() == 0);
  CHECK_FALSE(Deadline::never().passed());
  CHECK(Deadline::never().left_ms() == -1);
}

TEST_CASE("a failed check reports the condition and the values, and may go on") {
  CheckHandler before = set_check_handler(note_failure);
  int used = 5, capacity = 4;
  FARCALL_CHECK(used <= capacity, used, capacity);
  CHECK(g_failure == "used <= capacity with 5, 4");
  set_check_handler(before);
}

TEST_CASE("guarded data is counted right by many threads") {
  Guarded<int> total(0);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 1000; ++n) ++*total.lock();
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(*total.lock() == 4000);
}

TEST_CASE("a function reference calls what it was given, state included") {
  int seen = 0;
  auto add = [&seen](int more) { return seen += more; };
  FunctionRef<int(int)> borrowed = add;
  CHECK(borrowed(2) == 2);
  CHECK(borrowed(3) == 5);
}

TEST_CASE("log levels are known by their words only") {
  LogLevel level = LogLevel::kOff;
  CHECK(parse_log_level("debug", &level));
  CHECK(level == LogLevel::kDebug);
  CHECK_FALSE(parse_log_level("loud", &level));
  CHECK(level == LogLevel::kDebug);
}

TEST_CASE("a log line is one line however long, and a silent level writes nothing") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  Fd reading(ends[0]), writing(ends[1]);
  set_log(LogLevel::kWarn, writing.get());
  FARCALL_LOG_INFO("not this");
  FARCALL_LOG_WARN("%s", std::string(5000, 'x').c_str());
  set_log(LogLevel::kOff, 2);
  const std::string text = read_all(reading.get());
  CHECK(text.size() <= 1024);
  CHECK(text.find("not this") == std::string::npos);
  CHECK(text.find("warn: xxx") != std::string::npos);
  CHECK(text.find('\n') == text.size() - 1);
}

TEST_CASE("a log limit lets so many lines through a second") {
  LogLimit limit(3);
  int allowed = 0;
  for (int i = 0; i < 100; ++i) allowed += limit.allow();
  CHECK(allowed >= 3);
  CHECK(allowed <= 6);  // the loop may straddle a second
}

TEST_CASE("switches are on until they are turned off, by name or all at once") {
  CHECK(turn_off("spin,gather").ok());
  CHECK_FALSE(is_on(Switch::kSpin));
  CHECK_FALSE(is_on(Switch::kGather));
  CHECK(is_on(Switch::kPipeline));
  const Status unknown = turn_off("spin,warp-drive");
  CHECK(unknown.code() == Code::kUnsupported);
  CHECK(unknown.text().find("warp-drive") != std::string::npos);
  CHECK(unknown.text().find("module-cache") != std::string::npos);
  CHECK_FALSE(is_on(Switch::kGather));  // as before
  CHECK(turn_off("all").ok());
  for (unsigned i = 0; i < static_cast<unsigned>(Switch::kCount); ++i) {
    CHECK_FALSE(is_on(static_cast<Switch>(i)));
  }
  CHECK(turn_off("").ok());
  CHECK(is_on(Switch::kSpin));
}
