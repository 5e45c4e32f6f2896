// The layers of confine(), one function each; for this folder's sandbox alone.
//
//   Status held = take_root(plan);
//
// Each does all it can and says what it could not. None undoes what another did. Their order
// matters and is confine()'s.  Threads: one, as sandbox.h says.
#pragma once
#include <string>
#include <vector>

#include "security/sandbox.h"
#include "transport/base/unique.h"

namespace farcall::security {

// A path of the old root that stays in the new one.
struct KeptPath {
  std::string path;
  bool device = false;  // or below /dev: may be a device file
};
// What is there of the list that the profile's driver needs.
std::vector<KeptPath> kept_paths(SandboxProfile profile);

// Clones of those, and of plan.folder, for the new root. Before take_uid().
struct KeptTrees {
  struct Tree {
    std::string path;
    Fd tree;
  };
  std::vector<Tree> trees;
  bool folder = false;  // plan.folder is among them
  Status why_not;       // what could not be had, if anything
};
KeptTrees gather_trees(const SandboxPlan& plan);

// Becomes the user that the namespace calls root, or plan.uid; without further groups.
Status take_uid(const SandboxPlan& plan);
// An empty root, read-only, with plan.folder and what the profile needs.
Status take_root(const SandboxPlan& plan, const KeptTrees& kept);
// All capabilities, also from what may be executed later.
Status take_capabilities(const SandboxPlan& plan);
// All paths but plan.folder and the profile's, new TCP connections, other processes' signals.
Status take_paths(const SandboxPlan& plan);
Status take_limits(const SandboxPlan& plan);
// No core dump, nobody traces it, gone with its parent.
Status take_traces();
// Fails where only part of a process's memory can be kept from swap.
Status check_locked_memory();
// All system calls but those of worker_syscalls.def, from all threads.
Status take_calls(SandboxProfile profile);

}  // namespace farcall::security
