// The sandbox's parts that need no worker. What it withstands: tests/redteam.
#include "security/sandbox.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <cstdlib>
#include <filesystem>

#include "security/sandbox_kills.h"
#include "security/sandbox_layers.h"
#include "security/sandbox_spawn.h"

namespace farcall::security {
namespace {

// What a shell says on descriptor 3, as the first process of namespaces of its own; skipped where
// there are none.
Result<std::string> said_by_shell(const std::string& script, std::uint32_t uid = 0) {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  Fd reading(ends[0]);
  Fd writing(ends[1]);
  SpawnOrder order;
  order.path = "/bin/sh";
  order.words = {"sh", "-c", script};
  order.descriptors = {{writing.get(), 3}};
  order.uid = uid;
  Result<SpawnedProcess> child = spawn_isolated(order);
  if (!child.ok()) return child.status();
  writing.reset();
  std::string said;
  std::array<char, 256> piece;
  for (ssize_t got; (got = ::read(reading.get(), piece.data(), piece.size())) > 0;) {
    said.append(piece.data(), static_cast<std::size_t>(got));
  }
  REQUIRE(::waitpid(child->pid, nullptr, 0) == child->pid);
  return said;
}

TEST_CASE("a sandbox has three modes, and each its name") {
  for (SandboxMode mode : {SandboxMode::kOff, SandboxMode::kBest, SandboxMode::kStrict}) {
    CHECK(parse_sandbox_mode(name_of(mode)).value() == mode);
  }
  for (const char* word : {"", "Best", "on", "strict "}) {
    CHECK(parse_sandbox_mode(word).status().code() == Code::kUnsupported);
  }
}

TEST_CASE("a report is the same after a pipe, and complete without what is advice only") {
  SandboxReport report = {{"own user", ok(), "all are one"},
                          {"locked memory", Status(Code::kUnsupported, "8 MiB\tno\nmore"), "swap"}};
  report[1].wall = false;
  Result<SandboxReport> read = report_from_lines(to_lines(report));
  REQUIRE(read.ok());
  REQUIRE(read->size() == 2);
  CHECK(read.value()[0].held.ok());
  CHECK(read.value()[1].held.text() == "8 MiB no more");
  CHECK(read.value()[1].meaning == "swap");
  CHECK(complete(read.value()));
  report[0].held = Status(Code::kUnsupported, "not root");
  CHECK_FALSE(complete(report_from_lines(to_lines(report)).value()));
}

TEST_CASE("a report that breaks off or is none is refused") {
  const std::string whole = to_lines({{"own user", ok(), "all are one"}});
  for (std::size_t bytes = 1; bytes < whole.size(); ++bytes) {
    CHECK(report_from_lines(whole.substr(0, bytes)).status().code() == Code::kMalformed);
  }
  CHECK(report_from_lines("\n").status().code() == Code::kMalformed);
  std::string endless;
  for (int i = 0; i < 100; ++i) endless += whole;
  CHECK(report_from_lines(endless).status().code() == Code::kMalformed);
}

TEST_CASE("the kernel's log tells which call a process was ended for") {
  const std::string line =
      "5,1,2,-;audit: type=1326 audit(1.2:3): auid=4294967295 uid=0 gid=0 ses=1 pid=71 "
      "comm=\"farcall-worker\" exe=\"/x\" sig=31 arch=c000003e syscall=101 compat=0 ip=0x7f code=0";
  CHECK(killing_call_of(line, 71) == "ptrace");
  CHECK(killing_call_of(line, 7) == "");
  CHECK(killing_call_of(line, 710) == "");
  CHECK(killing_call_of("5,1,2,-;audit: type=1327 pid=71 syscall=101", 71) == "");
  CHECK(killing_call_of("", 71) == "");
  CHECK(killing_call_of("x audit: type=1326 pid=71 syscall=", 71) == "");
  std::string other = line;
  other.replace(other.find("c000003e"), 8, "40000003");
  CHECK(killing_call_of(other, 71) == "a call of another kind of processor");
  for (std::size_t bytes = 0; bytes < line.size(); ++bytes) {
    (void)killing_call_of(line.substr(0, bytes), 71);
  }
}

TEST_CASE("a program starts as the first process of namespaces of its own") {
  Result<std::string> said = said_by_shell(
      "echo $$ >&3; for n in user mnt net ipc uts cgroup; do readlink /proc/self/ns/$n >&3; done");
  if (said.status().code() == Code::kUnsupported) {
    MESSAGE("skipped: " << said.status().text());
    return;
  }
  REQUIRE_MESSAGE(said.ok(), said.status().to_string());
  CHECK(said->starts_with("1\n"));
  for (const char* name : {"user", "mnt", "net", "ipc", "uts", "cgroup"}) {
    const auto ours = std::filesystem::read_symlink(std::string("/proc/self/ns/") + name);
    CAPTURE(name);
    CHECK(said->find(std::string(name) + ":[") != std::string::npos);
    CHECK(said->find(ours.string()) == std::string::npos);
  }
}

TEST_CASE("started by root, a program is a user of its own; by anybody else, the same user") {
  Result<std::string> said = said_by_shell("cat /proc/self/uid_map >&3", kWorkerUidFirst + 5);
  if (said.status().code() == Code::kUnsupported) {
    MESSAGE("skipped: " << said.status().text());
    return;
  }
  REQUIRE_MESSAGE(said.ok(), said.status().to_string());
  const std::uint32_t expected = ::geteuid() == 0 ? kWorkerUidFirst + 5 : ::geteuid();
  CHECK(said->find(std::to_string(expected)) != std::string::npos);
}

// How a process ends that has RDMA's filter and makes a call: its errno, or minus the signal.
int ends_with_rdma_filter(long number) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) ::_exit(250);
    if (!take_calls(SandboxProfile::kRdma).ok()) ::_exit(251);
    ::_exit(::syscall(number, IPC_PRIVATE, 1, IPC_CREAT | 0600) < 0 ? errno : 0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

TEST_CASE("under RDMA shared memory of System V is refused, and other such calls are the end") {
  const int asked = ends_with_rdma_filter(SYS_shmget);
  if (asked == 251) {
    MESSAGE("skipped: no filter here (a sanitizer, or a kernel without seccomp)");
    return;
  }
  CHECK(asked == EPERM);  // UCX asks for huge pages, and has to live on without
  CHECK(ends_with_rdma_filter(SYS_semget) == -SIGSYS);
}

TEST_CASE("a program that cannot be started is an error with its path, and no process") {
  for (bool own_namespaces : {true, false}) {
    SpawnOrder order;
    order.path = "/no/such/program";
    order.words = {"program"};
    order.own_namespaces = own_namespaces;
    Status failed = spawn_isolated(order).status();
    if (failed.code() == Code::kUnsupported && own_namespaces) continue;
    CHECK(failed.code() == Code::kSystem);
    CHECK(failed.text().find("/no/such/program") != std::string::npos);
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);  // there is no child
  }
}

}  // namespace
}  // namespace farcall::security
