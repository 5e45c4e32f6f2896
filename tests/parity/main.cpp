// Runs bodies: parity DRIVER [BODY…]. Without names all, each in a process of its own.
//
//   parity --list                      the names
//   parity build/lib/libcuda.so.1 memory_sizes
//
// A process that never returned from a body, or crashed in it, is one more line of its output.
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

#include "tests/parity/parity.h"

namespace parity {
namespace {

struct Body {
  std::string name;
  BodyFunction run;
};

std::vector<Body>& bodies() {
  static auto* const all = new std::vector<Body>;
  return *all;
}

constexpr unsigned kBodySeconds = 60;  // a body that takes longer hangs

void* g_driver = nullptr;
std::string g_body;

void print(const std::string& line) {
  // One write: lines of threads and of a forked child do not mix.
  const std::string whole = line + "\n";
  if (write(STDOUT_FILENO, whole.data(), whole.size()) < 0) _exit(3);
}

}  // namespace

Registration::Registration(const char* name, BodyFunction run) { bodies().push_back({name, run}); }

void* find_function(const char* name) { return dlsym(g_driver, name); }

void* function(const char* name) {
  void* found = find_function(name);
  if (found == nullptr) stop("no " + std::string(name) + " in this driver");
  return found;
}

CUresult tell(const char* step, CUresult code) {
  print(g_body + ": " + step + " = " + name_of(code));
  return code;
}

CUresult tell_expected(const char* step, CUresult code, CUresult wanted, const char* source) {
  tell(step, code);
  if (code != wanted) {
    print("! " + g_body + ": " + step + ": " + source + " says " + name_of(wanted));
  }
  return code;
}

void value(const char* what, const std::string& is) { print(g_body + ": " + what + " = " + is); }
void value(const char* what, long long is) { value(what, std::to_string(is)); }
void fact(const char* what, const std::string& is) { print(g_body + ": " + what + " ~ " + is); }
void fact(const char* what, long long is) { fact(what, std::to_string(is)); }

void about(const std::string& what) { print(g_body + ": -- " + what); }

void stop(const std::string& why) {
  value("stopped", why);
  _exit(0);
}

namespace {

[[noreturn]] void run_here(const char* driver, const Body& body) {
  alarm(kBodySeconds);
  g_body = body.name;
  g_driver = dlopen(driver, RTLD_NOW | RTLD_LOCAL);
  if (g_driver == nullptr) {
    std::fprintf(stderr, "parity: %s\n", dlerror());
    _exit(2);
  }
  body.run();
  value("end", "reached");
  std::exit(0);
}

// False: the driver could not be opened, or there was no process for it.
bool run_apart(const char* driver, const Body& body) {
  const pid_t child = fork();
  if (child < 0) {
    std::fprintf(stderr, "parity: fork: %s\n", std::strerror(errno));
    return false;
  }
  if (child == 0) run_here(driver, body);
  int status = 0;
  waitpid(child, &status, 0);
  g_body = body.name;
  if (WIFSIGNALED(status)) {
    value("ended by", WTERMSIG(status) == SIGALRM ? "hanging" : strsignal(WTERMSIG(status)));
  } else if (WEXITSTATUS(status) != 0) {
    value("ended by", "exit code " + std::to_string(WEXITSTATUS(status)));
  }
  return !WIFEXITED(status) || WEXITSTATUS(status) != 2;
}

int usage() {
  std::fprintf(stderr, "Usage: parity DRIVER [BODY...] | parity --list\n");
  return 2;
}

}  // namespace
}  // namespace parity

int main(int count, char** words) {
  using parity::Body;
  auto& all = parity::bodies();
  std::sort(all.begin(), all.end(), [](const Body& a, const Body& b) { return a.name < b.name; });
  if (count < 2) return parity::usage();
  if (std::strcmp(words[1], "--list") == 0) {
    for (const Body& body : all) std::printf("%s\n", body.name.c_str());
    return 0;
  }
  std::vector<std::string> wanted(words + 2, words + count);
  for (const std::string& name : wanted) {
    if (std::none_of(all.begin(), all.end(), [&](const Body& b) { return b.name == name; })) {
      std::fprintf(stderr, "parity: no body %s; --list names them\n", name.c_str());
      return 2;
    }
  }
  for (const Body& body : all) {
    const bool listed = std::find(wanted.begin(), wanted.end(), body.name) != wanted.end();
    if ((wanted.empty() || listed) && !parity::run_apart(words[1], body)) return 2;
  }
  return 0;
}
