#include "gpu_server/loaded_code.h"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>

#include "transport/base/unique.h"

using namespace farcall;
using namespace farcall::server;

namespace {

using Paths = std::vector<std::string>;

struct Pair {
  Pair() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    one = Fd(ends[0]);
    other = Fd(ends[1]);
  }
  Fd one, other;
};

Deadline soon() { return Deadline::after(system_clock(), 10'000); }

}  // namespace

TEST_CASE("what is run are the files mapped to execute, each once") {
  const Paths paths = code_in(
      "55d0-55d1 r--p 00000000 fe:00 11      /usr/bin/worker\n"
      "55d1-55d2 r-xp 00001000 fe:00 11      /usr/bin/worker\n"
      "55d2-55d3 rwxp 00001000 fe:00 11      /usr/bin/worker\n"
      "7f00-7f01 r-xp 00000000 00:00 0 \n"
      "7f01-7f02 r--p 00000000 fe:00 12      /etc/ld.so.cache\n"
      "7f02-7f03 r-xp 00000000 fe:00 13      /usr/lib/with a space.so (deleted)\n"
      "7fff-7fff r-xp 00000000 00:00 0       [vdso]\n"
      "--xp\n");
  CHECK(paths == Paths{"/usr/bin/worker", "/usr/lib/with a space.so (deleted)"});
  const Result<Paths> own = own_code();
  REQUIRE(own.ok());
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  CHECK(std::find(own.value().begin(), own.value().end(), self) != own.value().end());
}

TEST_CASE("a worker's word of what it runs comes through, or why there is none") {
  const Pair pair;
  const Paths paths = {"/a", "/b c"};
  REQUIRE(send_code(pair.one.get(), paths).ok());
  CHECK(receive_code(pair.other.get(), soon()).value() == paths);
  REQUIRE(send_code(pair.one.get(), Status(Code::kSystem, "no /proc")).ok());
  CHECK(receive_code(pair.other.get(), soon()).status().text() == "a worker: no /proc");
  REQUIRE(send_code(pair.one.get(), Paths{}).ok());
  CHECK(receive_code(pair.other.get(), soon()).status().code() == Code::kMalformed);
  const std::array<std::uint32_t, 2> head = {0, 0x7fff'ffff};
  REQUIRE(::send(pair.one.get(), head.data(), sizeof head, MSG_NOSIGNAL) == sizeof head);
  CHECK(receive_code(pair.other.get(), soon()).status().code() == Code::kMalformed);
}
