// A program started as the first process of namespaces of its own.
//
//   SpawnOrder order{.path = worker, .words = …, .environment = …,
//                    .descriptors = {{socket.get(), 3}}, .own_namespaces = true, .uid = uid};
//   Result<SpawnedProcess> child = spawn_isolated(order);
//
// posix_spawn() cannot make namespaces, and a program that makes a process namespace only gets its
// children into it. So this clones, as fork() does, and the child does nothing but plain system
// calls until it is another program: the process that calls may have threads, locks and keys.
// In its user namespace the new program has all rights over its namespaces and none outside, until
// it drops them (sandbox.h). It ends with SIGKILL only: a first process is not killed by signals
// that it left at their defaults, other than that.
// Owner: the caller, who waits for the process (waitpid).  Threads: any.
// Source: clone(2), user_namespaces(7).
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::security {

struct SpawnOrder {
  struct Descriptor {
    int here = -1;
    int there = -1;  // 3 … 9
  };
  std::string path;
  // Open, to be executed in the place of whatever is at `path`; borrowed. -1: that.
  int program = -1;
  std::vector<std::string> words;        // argv
  std::vector<std::string> environment;  // "NAME=value"
  // What the program gets beside standard error; its standard input and output are /dev/null, and
  // everything else must be close-on-exec.
  std::vector<Descriptor> descriptors;
  // User, mount, process, network, IPC, UTS and cgroup namespaces.
  bool own_namespaces = true;
  // Whom of this system the program is, where we are root and there are namespaces; 0: who we are.
  std::uint32_t uid = 0;
  // Folder of the control group (cgroup v2) the program is in from its first instruction on; empty:
  // ours.
  std::string group{};
};

struct SpawnedProcess {
  pid_t pid = -1;
  Fd pid_fd;  // readable once the process has ended
};

// Returns once the program runs.
// Errors: kUnsupported where namespaces are not to be had here; kSystem with the path.
Result<SpawnedProcess> spawn_isolated(const SpawnOrder& order);

}  // namespace farcall::security
