// The program farcall-server: what it says of itself, and how it ends.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <fstream>

#include "tests/gpu_server/dialling.h"
#include "tests/security/test_pool.h"
#include "transport/base/clock.h"

extern char** environ;

namespace farcall::server {
namespace {

using farcall::testing::TestPool;

constexpr const char* kServer = FARCALL_BIN "/farcall-server";
constexpr const char* kDriver = FARCALL_TEST_DRIVER;

std::int64_t now_ms() { return system_clock().now_ns() / 1'000'000; }

struct Ran {
  pid_t pid = -1;
  int wait() {
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
};

Ran start(std::vector<std::string> words, const std::string& output) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  for (int fd : {1, 2}) {
    ::posix_spawn_file_actions_addopen(&actions, fd, output.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                       0600);
  }
  Ran ran;
  REQUIRE(::posix_spawn(&ran.pid, words[0].c_str(), &actions, nullptr, argv.data(), environ) == 0);
  ::posix_spawn_file_actions_destroy(&actions);
  return ran;
}

std::string contents(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> command(const TestPool& pool, std::vector<std::string> more) {
  std::vector<std::string> words = {kServer,
                                    "--cert",
                                    pool.server().certificate_path,
                                    "--key",
                                    pool.server().key_path,
                                    "--ca",
                                    pool.server().ca_path,
                                    "--listen",
                                    "127.0.0.1:0",
                                    "--module-cache",
                                    "off",
                                    "--audit",
                                    pool.path("audit")};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST_CASE("--check says what would be offered, or what is missing and what to do") {
  TestPool pool;
  std::string output = pool.path("output");
  CHECK(start(command(pool, {"--driver", kDriver, "--check"}), output).wait() == 0);
  std::string said = contents(output);
  for (const char* part : {"spiffe://lab/server/gpu1", "CUDA 13.0", "Farcall test device", "64 MiB",
                           "compute capability 9.0", "127.0.0.1:", "\nkeys "}) {
    CAPTURE(said);
    CHECK(said.find(part) != std::string::npos);
  }
  CHECK(start(command(pool, {"--driver", "/no/such/driver", "--check"}), output).wait() == 1);
  CHECK(contents(output).find("--driver") != std::string::npos);
  CHECK(start({kServer, "--nonsense"}, output).wait() == 2);
  CHECK(start({kServer, "--help"}, output).wait() == 0);
}

TEST_CASE("--check tells of each wall around a worker, and --sandbox takes three words") {
  TestPool pool;
  std::string output = pool.path("output");
  CHECK(start(command(pool, {"--driver", kDriver, "--check"}), output).wait() == 0);
  std::string said = contents(output);
  CAPTURE(said);
  CHECK(said.find("--sandbox best") != std::string::npos);
  for (const char* wall :
       {"namespaces", "own user", "empty root", "capabilities", "no new privileges", "Landlock",
        "limits", "no traces", "system calls"}) {
    CAPTURE(wall);
    CHECK(said.find(std::string("\n  ") + wall) != std::string::npos);
  }
  CHECK(start(command(pool, {"--driver", kDriver, "--check", "--sandbox", "off"}), output).wait() ==
        0);
  CHECK(contents(output).find("sandbox      OFF") != std::string::npos);
  CHECK(
      start(command(pool, {"--driver", kDriver, "--check", "--sandbox", "some"}), output).wait() ==
      2);
  // Sessions over RDMA could not have all of it.
  CHECK(start(command(pool, {"--driver", kDriver, "--check", "--sandbox", "strict",
                             "--rdma-address", "127.0.0.1"}),
              output)
            .wait() == 2);
}

TEST_CASE("SIGTERM takes the server down cleanly, SIGHUP does not") {
  TestPool pool;
  std::string port_file = pool.path("port");
  Ran server =
      start(command(pool, {"--driver", kDriver, "--port-file", port_file}), pool.path("output"));
  // The file appears whole, and appears only when clients can connect.
  std::int64_t until = now_ms() + 10'000;
  while (contents(port_file).empty() && now_ms() < until) ::poll(nullptr, 0, 5);
  REQUIRE_FALSE(contents(port_file).empty());
  auto port = static_cast<std::uint16_t>(std::stoi(contents(port_file)));
  REQUIRE(::kill(server.pid, SIGHUP) == 0);
  auto session = dial(port, pool.client());
  // The program has the real table's fingerprint, this test an invented one.
  CHECK(session.status().code() == Code::kDenied);
  REQUIRE(::kill(server.pid, SIGTERM) == 0);
  CHECK(server.wait() == 0);
}

}  // namespace
}  // namespace farcall::server
