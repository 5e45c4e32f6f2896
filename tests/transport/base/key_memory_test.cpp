// Memory for keys, looked at as another process would: through /proc/self/mem.
#include "transport/base/key_memory.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "transport/base/unique.h"

using namespace farcall;

namespace {

// 0, or why the byte at `at` cannot be read from outside.
int error_from_outside(const std::byte* at) {
  const Fd memory(::open("/proc/self/mem", O_RDONLY | O_CLOEXEC));
  REQUIRE(memory);
  std::byte seen{};
  errno = 0;
  const auto address = static_cast<off_t>(reinterpret_cast<std::uintptr_t>(at));
  return ::pread(memory.get(), &seen, 1, address) == 1 ? 0 : errno;
}

bool kernel_has_it() {
  const Status has = try_secret_memory();
  if (!has.ok()) MESSAGE("not tried here: " << has.text());
  return has.ok();
}

}  // namespace

TEST_CASE("a key's buffer is one like any other until the program says otherwise") {
  auto key = make_key_buffer(100);
  REQUIRE(key.ok());
  CHECK(key->size() == 100);
  CHECK(error_from_outside(key->data()) == 0);
}

TEST_CASE("keys cannot be read from outside where the kernel has memory for them") {
  use_secret_memory();
  auto key = make_key_buffer(5000);  // two pages
  auto other = SecureBuffer::make(5000);
  REQUIRE(key.ok());
  REQUIRE(other.ok());
  for (std::byte byte : key->bytes()) REQUIRE(byte == std::byte{0});
  std::memset(key->data(), 0x5a, key->size());
  std::memset(other->data(), 0x5a, other->size());
  CHECK(key->data()[4999] == std::byte{0x5a});
  CHECK(error_from_outside(other->data()) == 0);
  if (!kernel_has_it()) return;
  CHECK(error_from_outside(key->data()) == EIO);
  CHECK(error_from_outside(key->data() + 4999) == EIO);
  // It moves as a buffer does, and leaves nothing behind where it lay.
  std::byte* const at = key->data();
  SecureBuffer moved = std::move(key).value();
  CHECK(moved.data() == at);
  CHECK(moved.data()[4999] == std::byte{0x5a});
  moved = SecureBuffer();
  CHECK(::msync(at, 4096, MS_ASYNC) == -1);
}

TEST_CASE("a child has none of its parent's keys, and cannot change them") {
  use_secret_memory();
  auto key = make_key_buffer(100);
  REQUIRE(key.ok());
  std::memset(key->data(), 0x5a, key->size());
  const pid_t child = ::fork();
  if (child == 0) {
    const bool is_mapped = ::msync(key->data(), 4096, MS_ASYNC) == 0;
    ::_exit(is_mapped && key->data()[0] != std::byte{0} ? 1 : 0);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(key->data()[0] == std::byte{0x5a});
}
