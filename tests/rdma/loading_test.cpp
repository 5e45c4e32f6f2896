// What an RDMA link leaves behind in the program's process: nothing that the program could notice
// in its signals, its memory functions, its environment or its threads.
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <signal.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "tests/rdma/fabric.h"

using namespace farcall;
using namespace farcall::link;

namespace {

// UCX patches these when it is let.
constexpr const char* kPatched[] = {"mmap",  "munmap", "mremap", "brk",    "sbrk", "madvise",
                                    "shmat", "shmdt",  "fork",   "malloc", "free", "sigaction"};

std::map<int, std::string> handlers() {
  std::map<int, std::string> all;
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction now {};
    if (::sigaction(number, nullptr, &now) != 0) continue;
    const void* handler = reinterpret_cast<void*>(now.sa_handler);
    all[number] = std::to_string(reinterpret_cast<std::uintptr_t>(handler)) + "/" +
                  std::to_string(now.sa_flags);
  }
  return all;
}

std::map<std::string, std::string> first_code_bytes() {
  std::map<std::string, std::string> all;
  for (const char* name : kPatched) {
    const void* code = ::dlsym(RTLD_DEFAULT, name);
    if (code != nullptr) all[name] = std::string(static_cast<const char*>(code), 16);
  }
  return all;
}

std::vector<std::string> environment() {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) all.emplace_back(*entry);
  return all;
}

std::set<std::string> names_in(const char* folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.insert(entry.path().filename());
  }
  return names;
}

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// "SigBlk:\t…" of a thread.
std::string blocked_signals(const std::string& thread) {
  const std::string status = text_of("/proc/self/task/" + thread + "/status");
  const std::size_t at = status.find("SigBlk:");
  return at == std::string::npos ? "" : status.substr(at + 8, 16);
}

}  // namespace

TEST_CASE("asking whether there is RDMA loads nothing") {
  const auto threads = names_in("/proc/self/task");
  CHECK(rdma_available().ok() == (verbs_address() != nullptr));
  CHECK(names_in("/proc/self/task") == threads);
  if (text_of("/proc/self/maps").find("libucp") != std::string::npos) {
    MESSAGE("another test of this process has loaded it");
  }
}

TEST_CASE("an RDMA link changes no handler, no code, no variable of its process") {
  ::setenv("UCX_HANDLE_ERRORS", "bt", 1);  // what the program may want for its own UCX
  const auto handlers_before = handlers();
  const auto code_before = first_code_bytes();
  const auto environment_before = environment();
  char** const environ_before = environ;
  const auto threads_before = names_in("/proc/self/task");
  const std::size_t descriptors_before = names_in("/proc/self/fd").size();

  Ends ends = joined();
  CHECK(ends.a->tx_ready());

  CHECK(handlers() == handlers_before);
  CHECK(first_code_bytes() == code_before);
  CHECK(environment() == environment_before);
  CHECK(environ == environ_before);
  std::size_t more_threads = 0;
  for (const std::string& thread : names_in("/proc/self/task")) {
    if (threads_before.count(thread) != 0) continue;
    ++more_threads;
    // All but SIGKILL, SIGSTOP and the two that the C library keeps: none of the program's.
    CHECK(blocked_signals(thread) == "fffffffe7ffbfeff");
  }
  CHECK(more_threads <= 1);
  const std::string maps = text_of("/proc/self/maps");
  CHECK(maps.find("libucp") != std::string::npos);
  for (const char* other : {"libuct_cma", "libuct_cuda", "libucm_cuda", "libuct_xpmem"}) {
    CHECK(maps.find(other) == std::string::npos);
  }
  ends = {};
  MESSAGE("descriptors kept for the next link: ",
          names_in("/proc/self/fd").size() - descriptors_before);
  CHECK(handlers() == handlers_before);
  ::unsetenv("UCX_HANDLE_ERRORS");
}
