// The end of a worker, seen from what outlives it. Its memory: tests/forensics.
#include "gpu_server/wiped_end.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#  define ENDS_WIPED false
#elif defined(__has_feature)
#  define ENDS_WIPED !__has_feature(address_sanitizer)
#else
#  define ENDS_WIPED true
#endif

namespace farcall::server {
namespace {

constexpr int kStatus = 7;

// A process writes into a pipe, reads of it what it may, and ends wiped.
[[noreturn]] void write_and_end(Fd reading, Fd writing, std::string_view text, std::size_t read) {
  if (!prepare_wiped_end().ok()) ::_exit(1);
  Fd ours(::dup(writing.get()));
  std::array<char, 4096> into;
  if (::write(ours.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::read(reading.get(), into.data(), read) != static_cast<ssize_t>(read) ||
      !overwrite_pipe_at_end(std::move(reading), std::move(writing)).ok()) {
    ::_exit(1);
  }
  end_wiped(kStatus);
}

TEST_CASE("a pipe's page holds nothing of what went through, once its worker has ended") {
  if (!ENDS_WIPED) {
    MESSAGE("skipped: with a sanitizer a worker ends unwiped");
    return;
  }
  const std::string text = "what a kernel printed";
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  for (const std::size_t read : {text.size(), text.size() / 2, std::size_t{0}}) {
    CAPTURE(read);
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    Fd reading(ends[0]);
    Fd writing(ends[1]);
    REQUIRE(::fcntl(ends[1], F_SETPIPE_SZ, page) == static_cast<int>(page));
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) write_and_end(std::move(reading), std::move(writing), text, read);
    writing.reset();
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WEXITSTATUS(status) == kStatus);
    // The whole page, and nothing before it: there is no other that the text could be in.
    std::string left(2 * page, 'x');
    REQUIRE(::read(reading.get(), left.data(), left.size()) == static_cast<ssize_t>(page));
    CHECK(std::all_of(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(page),
                      [](char byte) { return byte == '\0'; }));
  }
}

}  // namespace
}  // namespace farcall::server
