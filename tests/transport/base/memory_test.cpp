#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string>

#include "transport/base/secure_arena.h"
#include "transport/base/unique.h"

using namespace farcall;

namespace {

// The "VmFlags" line of /proc/self/smaps for the mapping that holds `at`.
std::string flags_of(const void* at) {
  std::ifstream maps("/proc/self/smaps");
  const auto wanted = reinterpret_cast<std::uintptr_t>(at);
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    unsigned long first = 0, last = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &first, &last) == 2) {
      inside = first <= wanted && wanted < last;
    } else if (inside && line.rfind("VmFlags:", 0) == 0) {
      return line;
    }
  }
  return {};
}

}  // namespace

TEST_CASE("wipe leaves nothing but zeros") {
  char secret[] = "the quarterly figures";
  wipe(secret, sizeof secret);
  CHECK(std::all_of(secret, secret + sizeof secret, [](char c) { return c == 0; }));
}

TEST_CASE("a secure buffer is as large as asked for and starts as zeros") {
  Result<SecureBuffer> buffer = SecureBuffer::make(5000);
  REQUIRE(buffer.ok());
  CHECK(buffer.value().size() == 5000);
  auto bytes = buffer.value().bytes();
  CHECK(std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; }));
}

TEST_CASE("a secure buffer stays out of core dumps and is wiped in forked children") {
  SecureBuffer buffer = SecureBuffer::make(4096).value();
  const std::string flags = flags_of(buffer.data());
  CHECK(flags.find(" dd") != std::string::npos);  // MADV_DONTDUMP
  CHECK(flags.find(" wf") != std::string::npos);  // MADV_WIPEONFORK
  std::memset(buffer.data(), 0x5a, buffer.size());
  const pid_t child = ::fork();
  if (child == 0) ::_exit(buffer.data()[100] == std::byte{0} ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
  CHECK(buffer.data()[100] == std::byte{0x5a});
}

TEST_CASE("a moved secure buffer leaves an empty one behind") {
  SecureBuffer first = SecureBuffer::make(100).value();
  std::byte* at = first.data();
  SecureBuffer second = std::move(first);
  CHECK(second.data() == at);
  CHECK(first.data() == nullptr);  // NOLINT: what a move leaves is the point
  CHECK(first.size() == 0);
}

TEST_CASE("a file descriptor is closed once, by its last owner") {
  int number = -1;
  {
    Fd owner(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    REQUIRE(owner);
    number = owner.get();
    Fd other = std::move(owner);
    CHECK_FALSE(owner);  // NOLINT: what a move leaves is the point
    CHECK(other.get() == number);
  }
  CHECK(::fcntl(number, F_GETFD) == -1);
}
