// Control groups of workers, in a folder that looks like the kernel's; in real ones by
// tests/e2e/worker_limits.py, where the machine has some to give.
#include "gpu_server/worker_group.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/support/temporary_folder.h"

using namespace farcall;
using namespace farcall::server;

namespace {

// The kernel makes files with its folders; here they are made beforehand.
class Groups {
 public:
  Groups() {
    write("cgroup.controllers", "cpuset cpu io memory pids\n");
    for (const char* file : {"cgroup.type", "cgroup.procs", "cgroup.subtree_control"})
      write(file, "");
    write(server("cgroup.procs"), "");
    for (const char* file : {"memory.max", "memory.swap.max", "pids.max", "cpu.max"}) {
      write(worker(file), "max");
    }
  }
  static std::string pid() { return std::to_string(::getpid()); }
  static std::string server(const std::string& file) {
    return "farcall-server-" + pid() + "/" + file;
  }
  static std::string worker(const std::string& file) {
    return "farcall-worker-" + pid() + "-1/" + file;
  }
  void write(const std::string& file, const std::string& text) const {
    const std::filesystem::path path = own + "/" + file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  std::string read(const std::string& file) const {
    std::ifstream in(own + "/" + file);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }

  const testing::TemporaryFolder folder;
  const std::string& own = folder.path();
};

const WorkerLimits kAll{.memory_bytes = 8ull << 30, .threads_max = 512, .cpu_percent = 250};

bool says(const Status& status, const std::string& part) {
  return !status.ok() && status.text().find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("limits of workers are read from a text and written as the same text") {
  const char* text = "memory=8GiB,threads=512,cpu=250";
  auto limits = parse_worker_limits(text);
  REQUIRE(limits.ok());
  CHECK(limits.value() == kAll);
  CHECK(to_string(limits.value()) == text);
  CHECK(parse_worker_limits("")->none());
  for (const char* wrong : {"memory", "memory=", "memory=8X", "threads=31", "threads=1e3", "cpu=0",
                            "cpu=-5", "cpu=5,", "disk=4", "cpu=5,cpu=5", "cpu=99999999999"}) {
    INFO(wrong);
    CHECK(parse_worker_limits(wrong).status().code() == Code::kUnsupported);
  }
}

TEST_CASE("each worker has a group with its limits, and the server one beside them") {
  Groups there;
  {
    auto groups = WorkerGroups::open(kAll, there.own);
    REQUIRE_MESSAGE(groups.ok(), groups.status().to_string());
    CHECK(there.read("cgroup.subtree_control") == "+memory +pids +cpu");
    CHECK(there.read(Groups::server("cgroup.procs")) == "0");
    auto group = groups.value()->make();
    REQUIRE_MESSAGE(group.ok(), group.status().to_string());
    CHECK(there.read(Groups::worker("memory.max")) == "8589934592");
    CHECK(there.read(Groups::worker("memory.swap.max")) == "0ax");  // no file is cut here
    CHECK(there.read(Groups::worker("pids.max")) == "512");
    CHECK(there.read(Groups::worker("cpu.max")) == "250000 100000");
    CHECK(group->excess().empty());
    there.write(Groups::worker("memory.events"), "low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\n");
    CHECK(group->excess() ==
          "it took more than its 8GiB of host memory (--limits-per-worker memory)");
    there.write(Groups::worker("memory.events"), "oom_kill 0\n");
    there.write(Groups::worker("pids.events"), "max 3\n");
    CHECK(group->excess().find("512 threads") != std::string::npos);
  }
  // The server is back where it was, and nothing is switched on any more.
  CHECK(there.read("cgroup.subtree_control") == "-memory -pids -cpu");
  CHECK(there.read("cgroup.procs") == "0");
}

TEST_CASE("only what is limited is switched on, and leftovers of servers that are gone go") {
  Groups there;
  std::filesystem::create_directories(there.own + "/farcall-worker-999999999-3");
  std::filesystem::create_directories(there.own + "/farcall-worker-1-3");
  std::filesystem::create_directories(there.own + "/another");
  auto groups = WorkerGroups::open({.cpu_percent = 100}, there.own);
  REQUIRE(groups.ok());
  CHECK(there.read("cgroup.subtree_control") == "+cpu");
  CHECK_FALSE(std::filesystem::exists(there.own + "/farcall-worker-999999999-3"));
  CHECK(std::filesystem::exists(there.own + "/farcall-worker-1-3"));
  CHECK(std::filesystem::exists(there.own + "/another"));
  REQUIRE(groups.value()->make().ok());
  CHECK(there.read(Groups::worker("memory.max")) == "max");
}

TEST_CASE("what a server that was killed left switched on is switched off") {
  Groups there;
  std::filesystem::remove_all(there.own + "/farcall-worker-" + Groups::pid() + "-1");
  std::filesystem::remove_all(there.own + "/farcall-server-" + Groups::pid());
  std::filesystem::create_directories(there.own + "/farcall-worker-999999999-3");
  there.write("cgroup.subtree_control", "memory pids");
  CHECK_FALSE(WorkerGroups::open({.cpu_percent = 100}, there.own).ok());  // no files in new folders
  CHECK(there.read("cgroup.subtree_control") == "-memory -pids");
  // Not below a server that lives.
  std::filesystem::create_directories(there.own + "/farcall-server-1");
  there.write("cgroup.subtree_control", "memory pids");
  CHECK_FALSE(WorkerGroups::open({.cpu_percent = 100}, there.own).ok());
  CHECK(there.read("cgroup.subtree_control") == "memory pids");
}

TEST_CASE("groups that cannot keep a limit say which, and what to do") {
  Groups there;
  there.write("cgroup.controllers", "cpu pids\n");
  auto groups = WorkerGroups::open(kAll, there.own);
  CHECK(groups.status().code() == Code::kUnsupported);
  CHECK(says(groups.status(), "no controller \"memory\" (it has: cpu pids)"));
  CHECK(says(groups.status(), "Delegate=yes"));
  CHECK(says(WorkerGroups::open(kAll, there.own + "/none").status(), "it has: none"));
  there.write("cgroup.controllers", "cpu pids memory\n");
  std::filesystem::remove(there.own + "/cgroup.subtree_control");
  CHECK(says(WorkerGroups::open(kAll, there.own).status(), "cgroup.subtree_control"));
  CHECK(there.read("cgroup.procs") == "0");  // it did not stay where it had gone
}

TEST_CASE("the server's own group is found by what the kernel says of groups and mounts") {
  const std::string mounts =
      "25 1 0:24 / /proc rw,nosuid - proc proc rw\n"
      "30 25 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
      "31 25 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
  auto own = own_group_in("2:cpu:/x\n0::/system.slice/farcall.service\n", mounts);
  REQUIRE(own.ok());
  CHECK(own.value() == "/sys/fs/cgroup/system.slice/farcall.service");
  CHECK(own_group_in("0::/\n", mounts).value() == "/sys/fs/cgroup");
  const std::string inside = "31 25 0:28 /docker/ab /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
  CHECK(own_group_in("0::/docker/ab/c\n", inside).value() == "/sys/fs/cgroup/c");
  CHECK_FALSE(own_group_in("2:cpu:/x\n", mounts).ok());
  CHECK_FALSE(own_group_in("0::/x\n", "30 25 0:27 / /x rw - cgroup cgroup rw\n31 25\n").ok());
}
