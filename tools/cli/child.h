// Child: one process that a command started and will end.
//
//   Result<Child> server = Child::start({places.server, "--listen", "127.0.0.1:0"}, "server.log");
//   int code = program.value().wait();        // 0 … 255, 128 + signal
//
// Owner: the object; its destructor ends the process (SIGTERM, then SIGKILL when that takes too
// long). A child also ends when this process dies.  Threads: one.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "transport/base/status.h"

namespace farcall::cli {

class Child {
 public:
  // output: a file for its standard output and error; empty: shared with this process.
  // Errors: kSystem. A program that cannot be executed shows as exit code 126 or 127.
  static Result<Child> start(const std::vector<std::string>& command, const std::string& output);

  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  ~Child();

  bool is_running();  // reaps it when it is not
  // Waits for its end. SIGTERM and SIGHUP sent to this process meanwhile are passed on; SIGINT and
  // SIGQUIT reach the child through the terminal and are ignored here.
  int wait();
  int exit_code() const { return exit_code_; }  // once ended

 private:
  explicit Child(pid_t pid) : pid_(pid) {}
  void note_end(int wait_status);
  static constexpr int kEndMs = 3000;
  pid_t pid_ = -1;
  int exit_code_ = -1;
};

}  // namespace farcall::cli
