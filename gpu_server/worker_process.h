// WorkerProcess: the process that serves one client, seen from the supervisor.
//
//   Result<WorkerProcess> worker = WorkerProcess::spawn({worker_path, driver_path});
//   send_session(worker.value().socket(), handover);
//   …
//   worker.value().end();                          // asks, waits limits::kWorkerGraceMs, kills
//
// The worker is exec'd, so it inherits nothing but its end of a socket pair (descriptor 3), its
// tenant's folder of images (4), the ledger of its lease (5), where it tells facts (6 and 7), the
// bell to ask for its turn with (8), stderr and a filtered environment: not the private key, not
// another client's socket. It is the first process of namespaces of its own, and confines itself
// once its driver is loaded (security/sandbox.h).
// Owner: the thread of its session. That thread must outlive the process: the kernel kills the
// worker when the thread that made it ends (PR_SET_PDEATHSIG).  Threads: one.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gpu_server/worker_group.h"
#include "security/sandbox.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::server {

class WorkerProcess {
 public:
  struct Command {
    std::string worker_path;
    std::string driver_path;
    std::string rdma_address{};    // where the worker listens for its client; empty: it does not
    std::string name{};            // of this server, where it has peers
    std::string peers{};           // the servers it talks to, with commas between; empty: none
    std::string scrub = "verify";  // see scrub.h
    int cache_folder = -1;         // the tenant's images, or -1; borrowed until spawn() returns
    std::uint64_t cache_bytes = 0;
    int ledger = -1;           // of its lease (ledger.h), or -1; borrowed until spawn() returns
    unsigned ledger_slot = 0;  // where it counts there
    int facts_page = -1;       // of its session (facts.h), or -1; borrowed like that
    int facts_pipe = -1;       // the end to write to
    int doorbell = -1;         // of its lease (turn_keeper.h), or -1; borrowed likewise
    std::uint64_t families = ~std::uint64_t{0};  // of calls that it carries out (capabilities.h)
    std::string visible_devices{};               // for its driver; empty: as the server's own
    security::SandboxMode sandbox = security::SandboxMode::kBest;
    int program = -1;          // the worker, open: executed in the place of what is at its path
    bool tells_code = false;   // tells first what it runs (loaded_code.h)
    std::uint32_t uid = 0;     // whom the worker is to run as; 0: the server's own user
    std::string group{};       // folder of its control group; empty: the server's own
    bool only_report = false;  // confine itself, write the report to its socket, and end
  };
  // Errors: kSystem, with the path; kUnsupported where there are no namespaces and the sandbox is
  // to be strict.
  static Result<WorkerProcess> spawn(const Command& command);

  WorkerProcess(WorkerProcess&&) noexcept;
  WorkerProcess& operator=(WorkerProcess&&) = delete;
  ~WorkerProcess();  // end()

  pid_t pid() const { return pid_; }
  int socket() const { return socket_.get(); }
  // Readable once the process has ended.
  int end_fd() const { return pid_fd_.get(); }

  // Stops the process with all its threads, so that no call of its client and no byte goes on. What
  // a device was told already it may still finish.
  // Errors: kSystem, kTimeout: it did not stop within limits::kFreezeMs.
  Status freeze();
  void thaw();
  bool is_frozen() const { return frozen_; }

  // Ends the process if it still runs, frozen or not, and says how it ended: "exit 0", "signal 9",
  // "killed by its sandbox: it asked for ptrace".
  std::string end();
  // To remove once the process has ended; end() says what it wanted beyond its limits.
  void keep(WorkerGroup group) { group_.emplace(std::move(group)); }
  // After end(): it asked the kernel for what no worker needs, so it was not itself any more.
  bool broke_rules() const { return broke_rules_; }

 private:
  WorkerProcess(pid_t pid, Fd pid_fd, Fd socket);
  pid_t pid_ = -1;
  bool broke_rules_ = false;
  bool frozen_ = false;
  Fd pid_fd_;
  Fd socket_;
  std::optional<WorkerGroup> group_;
};

// What a worker may know of the supervisor's environment: "NAME=value", for the driver and the log.
std::vector<std::string> worker_environment(const char* const* environment);

}  // namespace farcall::server
