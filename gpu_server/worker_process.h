// WorkerProcess: the process that serves one client, seen from the supervisor.
//
//   Result<WorkerProcess> worker = WorkerProcess::spawn({worker_path, driver_path});
//   send_session(worker.value().socket(), handover);
//   …
//   worker.value().end();                          // asks, waits limits::kWorkerGraceMs, kills
//
// The worker is exec'd, so it inherits nothing but its end of a socket pair (descriptor 3), its
// tenant's folder of images (4), stderr
// and a filtered environment: not the private key, not another client's socket.
// Owner: the thread of its session. That thread must outlive the process: the kernel kills the
// worker when the thread that made it ends (PR_SET_PDEATHSIG).  Threads: one.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::server {

class WorkerProcess {
 public:
  struct Command {
    std::string worker_path;
    std::string driver_path;
    std::string rdma_address{};  // where the worker listens for its client; empty: it does not
    std::string name{};          // of this server, where it has peers
    std::string peers{};         // the servers it talks to, with commas between; empty: none
    int cache_folder = -1;       // the tenant's images, or -1; borrowed until spawn() returns
    std::uint64_t cache_bytes = 0;
  };
  // Errors: kSystem, with the path.
  static Result<WorkerProcess> spawn(const Command& command);

  WorkerProcess(WorkerProcess&&) noexcept;
  WorkerProcess& operator=(WorkerProcess&&) = delete;
  ~WorkerProcess();  // end()

  pid_t pid() const { return pid_; }
  int socket() const { return socket_.get(); }
  // Readable once the process has ended.
  int end_fd() const { return pid_fd_.get(); }

  // Ends the process if it still runs and says how it ended: "exit 0", "signal 9".
  std::string end();

 private:
  WorkerProcess(pid_t pid, Fd pid_fd, Fd socket);
  pid_t pid_ = -1;
  Fd pid_fd_;
  Fd socket_;
};

// What a worker may know of the supervisor's environment: "NAME=value", for the driver and the log.
std::vector<std::string> worker_environment(const char* const* environment);

}  // namespace farcall::server
