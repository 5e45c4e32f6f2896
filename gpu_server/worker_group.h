// WorkerGroups: a control group (cgroup v2) of its own for each worker, below the server's.
//
//   auto groups = WorkerGroups::open_here(limits);
//   Result<WorkerGroup> group = groups.value()->make();
//   command.group = group->folder();                // it is in there from its start
//   … it ends …  group->excess();                   // "it took more than its 8GiB of host memory"
//
// A group that has groups below it may hold no process itself, so the server moves to one beside
// its workers', and back when the object ends. Groups of servers that were killed are removed by
// the next. Needs a group that is the server's to divide: a systemd service with Delegate=yes, or
// root. Owner: the supervisor, who outlives every group.  Threads: any.
// Source: Linux, Documentation/admin-guide/cgroup-v2.rst.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "gpu_server/worker_limits.h"
#include "transport/base/status.h"

namespace farcall::server {

// The folder of this process's group, such as /sys/fs/cgroup/system.slice/farcall.service, from
// what the kernel says.  Errors: kUnsupported where there is no cgroup v2.
//   groups  /proc/self/cgroup
//   mounts  /proc/self/mountinfo
Result<std::string> own_group_in(std::string_view groups, std::string_view mounts);

// Removed when it goes; by then its processes have ended.  Threads: one.
class WorkerGroup {
 public:
  WorkerGroup(WorkerGroup&& other) noexcept;
  WorkerGroup& operator=(WorkerGroup&&) = delete;
  ~WorkerGroup();

  const std::string& folder() const { return folder_; }
  // What its processes wanted beyond their limits, in words; empty: nothing that was refused.
  std::string excess() const;

 private:
  friend class WorkerGroups;
  WorkerGroup(std::string folder, const WorkerLimits& limits)
      : folder_(std::move(folder)), limits_(limits) {}
  std::string folder_;
  WorkerLimits limits_;
};

class WorkerGroups {
 public:
  // Errors: kUnsupported with what is missing and what to do.
  static Result<std::unique_ptr<WorkerGroups>> open(const WorkerLimits& limits,
                                                    const std::string& own);
  // Below this process's own group.
  static Result<std::unique_ptr<WorkerGroups>> open_here(const WorkerLimits& limits);
  ~WorkerGroups();
  WorkerGroups(const WorkerGroups&) = delete;
  WorkerGroups& operator=(const WorkerGroups&) = delete;

  const WorkerLimits& limits() const { return limits_; }
  // Errors: kSystem.
  Result<WorkerGroup> make();

 private:
  WorkerGroups(const WorkerLimits& limits, std::string own)
      : limits_(limits), own_(std::move(own)) {}
  Status move_aside();
  const WorkerLimits limits_;
  const std::string own_;
  std::string switched_on_;  // controllers, as cgroup.subtree_control takes them
  std::string aside_;        // where the server is now; empty: where it was
  std::atomic<unsigned> made_{0};
};

}  // namespace farcall::server
