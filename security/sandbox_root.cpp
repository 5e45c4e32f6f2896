// A root with nothing in it.
//
// What stays is cloned from the old tree before the user changes, for a folder may lie where only
// the server's user gets to; the new root is built afterwards, by the user who is to own it.
#include <fcntl.h>
#include <glob.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <array>
#include <climits>

#include "security/sandbox_layers.h"

namespace farcall::security {
namespace {

constexpr const char* kFolderBelowRoot = "/images";
// Where the new root is attached for a moment: any folder that there is.
constexpr const char* kPlacesForRoot[] = {"/tmp", "/mnt", "/proc"};

Status set_attributes(int tree, std::uint64_t attributes) {
  mount_attr set{};
  set.attr_set = attributes;
  if (::mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &set, sizeof set) != 0) {
    return Status::system("mount_setattr");
  }
  return ok();
}

Result<Fd> clone_tree(const std::string& path) {
  Fd tree(::open_tree(AT_FDCWD, path.c_str(),
                      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | static_cast<unsigned>(AT_RECURSIVE)));
  if (!tree) return Status::system("clone the mount of " + path);
  return tree;
}

// A descriptor from another mount namespace cannot be cloned; its path can, if it leads there.
Result<Fd> clone_folder(int folder) {
  const std::string link = "/proc/self/fd/" + std::to_string(folder);
  std::array<char, PATH_MAX> path{};
  if (::readlink(link.c_str(), path.data(), path.size() - 1) <= 0) {
    return Status::system("find the folder's path");
  }
  Result<Fd> tree = clone_tree(path.data());
  if (!tree.ok()) return tree;
  struct stat asked {};
  struct stat found {};
  if (::fstat(folder, &asked) != 0 || ::fstat(tree->get(), &found) != 0 ||
      asked.st_dev != found.st_dev || asked.st_ino != found.st_ino) {
    return Status(Code::kNotFound, "the folder's path leads elsewhere by now");
  }
  FARCALL_TRY(
      set_attributes(tree->get(), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
  return tree;
}

// Each folder on the way, then the mount point itself: a folder, or an empty file for a file.
Status make_place(int root, const std::string& path, bool folder) {
  for (std::size_t slash = path.find('/', 1); slash != path.npos;
       slash = path.find('/', slash + 1)) {
    if (::mkdirat(root, path.substr(1, slash - 1).c_str(), 0755) != 0 && errno != EEXIST) {
      return Status::system("make a folder for " + path);
    }
  }
  if (folder) {
    if (::mkdirat(root, path.c_str() + 1, 0755) == 0 || errno == EEXIST) return ok();
    return Status::system("make " + path);
  }
  Fd place(::openat(root, path.c_str() + 1, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  return place ? ok() : Status::system("make " + path);
}

Status attach(int root, const std::string& path, int tree) {
  struct stat facts {};
  if (::fstat(tree, &facts) != 0) return Status::system("look at " + path);
  FARCALL_TRY(make_place(root, path, S_ISDIR(facts.st_mode)));
  if (::move_mount(tree, "", root, path.c_str() + 1, MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return Status::system("mount " + path);
  }
  return ok();
}

Result<Fd> make_tmpfs() {
  Fd context(::fsopen("tmpfs", FSOPEN_CLOEXEC));
  if (!context || ::fsconfig(context.get(), FSCONFIG_SET_STRING, "size", "64k", 0) != 0 ||
      ::fsconfig(context.get(), FSCONFIG_SET_STRING, "mode", "0755", 0) != 0 ||
      ::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return Status::system("make a file system in memory");
  }
  Fd tree(::fsmount(context.get(), FSMOUNT_CLOEXEC,
                    MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
  if (!tree) return Status::system("make a mount");
  for (const char* place : kPlacesForRoot) {
    if (::move_mount(tree.get(), "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH) == 0) return tree;
  }
  return Status::system("attach the new root");
}

// A process list of the process's own namespace only.
Status mount_proc(int root) {
  FARCALL_TRY(make_place(root, "/proc", true));
  Fd context(::fsopen("proc", FSOPEN_CLOEXEC));
  if (!context || ::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return Status::system("make a process file system");
  }
  Fd tree(::fsmount(context.get(), FSMOUNT_CLOEXEC,
                    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
  if (!tree) return Status::system("make a mount of processes");
  return attach(root, "/proc", tree.get());
}

// The old root is gone afterwards, not merely out of sight. Where the kernel's first file system is
// the root (a guest started from an initramfs), it cannot be moved, and is covered instead.
Status enter(int root) {
  if (::fchdir(root) != 0) return Status::system("enter the new root");
  if (::syscall(SYS_pivot_root, ".", ".") == 0) {
    if (::umount2(".", MNT_DETACH) != 0) return Status::system("let go of the old root");
  } else if (::mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 || ::chroot(".") != 0) {
    return Status::system("change to the new root");
  }
  if (::chdir("/") != 0) return Status::system("enter the new root");
  mount_attr read_only{};
  read_only.attr_set = MOUNT_ATTR_RDONLY;
  if (::mount_setattr(AT_FDCWD, "/", 0, &read_only, sizeof read_only) != 0) {
    return Status::system("make the new root read-only");
  }
  return ok();
}

// The number stays; what it leads to has no way up to the old root any more.
Status reopen(int folder) {
  Fd again(::open(kFolderBelowRoot, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!again || ::dup3(again.get(), folder, O_CLOEXEC) < 0) {
    return Status::system("open the folder again");
  }
  return ok();
}

Status build(int root, const KeptTrees& kept, const SandboxPlan& plan) {
  for (const KeptTrees::Tree& each : kept.trees) {
    FARCALL_TRY(attach(root, each.path, each.tree.get()));
  }
  if (plan.profile == SandboxProfile::kNvidia) FARCALL_TRY(mount_proc(root));
  FARCALL_TRY(enter(root));
  return kept.folder ? reopen(plan.folder) : ok();
}

}  // namespace

std::vector<KeptPath> kept_paths(SandboxProfile profile) {
  std::vector<KeptPath> kept;
  auto add = [&kept](const char* pattern, bool device) {
    glob_t found{};
    if (::glob(pattern, 0, nullptr, &found) == 0) {
      for (std::size_t i = 0; i < found.gl_pathc; ++i) kept.push_back({found.gl_pathv[i], device});
    }
    ::globfree(&found);
  };
  if (profile == SandboxProfile::kPlain) return kept;
  if (profile == SandboxProfile::kRdma) {
    add("/dev/infiniband", true);
    for (const char* path : {"/sys", "/proc", "/etc"}) add(path, false);
  } else {
    // The driver's own devices and nothing else of /dev; libraries that it loads when it is asked
    // to compile; what it looks up of the machine. /proc is a new one (mount_proc).
    add("/dev/nvidia*", true);
    for (const char* path : {"/sys", "/etc/ld.so.cache", "/etc/nvidia", "/usr/share/nvidia"}) {
      add(path, false);
    }
  }
  for (const char* path : {"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/nvidia"}) {
    add(path, false);
  }
  return kept;
}

KeptTrees gather_trees(const SandboxPlan& plan) {
  KeptTrees kept;
  if (!plan.namespaces.ok()) {
    kept.why_not = Status(Code::kUnsupported, "it needs a mount namespace");
    return kept;
  }
  // What is mounted here must not show on the host.
  if (::mount("", "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) {
    kept.why_not = Status::system("part the mounts from the host's");
  }
  for (const KeptPath& each : kept_paths(plan.profile)) {
    Result<Fd> tree = clone_tree(each.path);
    Status done = tree.status();
    if (done.ok()) {
      done = set_attributes(tree->get(), MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
                                             (each.device ? 0U : MOUNT_ATTR_NODEV));
    }
    if (done.ok()) kept.trees.push_back({each.path, std::move(tree).value()});
    if (!done.ok()) kept.why_not = done;
  }
  if (plan.folder < 0) return kept;
  Result<Fd> folder = clone_folder(plan.folder);
  if (folder.ok()) {
    kept.trees.push_back({kFolderBelowRoot, std::move(folder).value()});
    kept.folder = true;
    return kept;
  }
  kept.why_not = folder.status();
  // Its descriptor leads to the old root: rather none.
  Fd nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (nothing) ::dup3(nothing.get(), plan.folder, O_CLOEXEC);
  return kept;
}

Status take_root(const SandboxPlan& plan, const KeptTrees& kept) {
  if (!plan.namespaces.ok()) return kept.why_not;
  Result<Fd> root = make_tmpfs();
  if (!root.ok()) return root.status();
  FARCALL_TRY(build(root->get(), kept, plan));
  return kept.why_not;
}

}  // namespace farcall::security
