// Moves after files and descriptors.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

#include "tests/redteam/moves.h"

namespace farcall::redteam {
namespace {

constexpr int kImages = 4;  // the tenant's own folder

int read_file(const char* path) {
  char byte;
  const int file = ::open(path, O_RDONLY);
  return outcome(file < 0 ? file : ::read(file, &byte, 1));
}
int write_file(const std::string& path) {
  struct stat facts {};
  const bool there = ::stat(path.c_str(), &facts) == 0;
  const int error = outcome(::open(path.c_str(), O_WRONLY | O_CREAT, 0600));
  if (error == 0 && !there) ::unlink(path.c_str());
  return error;
}
int make_in(const char* folder) { return write_file(std::string(folder) + "/farcall-redteam"); }

// Somebody else's entries, not merely an empty folder.
int list(int folder) {
  if (folder < 0) return outcome(folder);
  DIR* entries = ::fdopendir(folder);
  if (entries == nullptr) return outcome(-1);
  int found = 0;
  while (const dirent* entry = ::readdir(entries)) found += entry->d_name[0] != '.';
  return found > 0 ? 0 : ENOENT;
}
int list(const char* path) { return list(::open(path, O_RDONLY | O_DIRECTORY)); }

std::string of_supervisor(const char* file) {
  return "/proc/" + std::to_string(supervisor()) + "/" + file;
}

// On a folder of the test's, so that nothing is broken where it works.
int unmount() {
  const int error = outcome(::umount2(target("MOUNT"), MNT_DETACH));
  return error == EINVAL ? 0 : error;  // let in; nothing is mounted there
}

// A descriptor that leads to anything but a pipe, the session's sockets, the log, or the tenant's
// own folder.
int inherited_descriptors() {
  for (int fd = 0; fd < 1024; ++fd) {
    struct stat facts {};
    if (fd == kImages || fd == STDERR_FILENO || ::fstat(fd, &facts) != 0) continue;
    int listens = 0;
    socklen_t bytes = sizeof listens;
    if (S_ISDIR(facts.st_mode) || S_ISBLK(facts.st_mode)) return 0;
    if (S_ISSOCK(facts.st_mode) &&
        ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &bytes) == 0 && listens != 0) {
      return 0;
    }
  }
  return ENOENT;
}

int chroot_escape() {
  if (::mkdir("x", 0700) != 0 && errno != EEXIST) return outcome(-1);
  if (::chroot("x") != 0) return outcome(-1);
  for (int i = 0; i < 64; ++i) (void)!::chdir("..");
  return outcome(::chroot("."));
}

int handle_of_a_file() {
  constexpr unsigned kBytes = 8;
  alignas(file_handle) std::byte room[sizeof(file_handle) + kBytes]{};
  const file_handle head{.handle_bytes = kBytes, .handle_type = 1, .f_handle = {}};
  std::memcpy(room, &head, sizeof head);
  room[sizeof head] = std::byte{2};  // the root folder of an ext4
  return outcome(::syscall(SYS_open_by_handle_at, kImages, room, O_RDONLY));
}

constexpr Move kMoves[] = {
    {"read /etc/passwd", [] { return read_file("/etc/passwd"); }},
    {"read the server's private key", [] { return read_file(target("KEY")); }},
    {"read the server's certificate folder", [] { return list(target("FOLDER")); }},
    {"read the worker's own program", [] { return read_file("/proc/self/exe"); }},
    {"list another tenant's images", [] { return list(target("IMAGES")); }},
    {"climb from the own image folder to others'",
     [] { return list(::openat(kImages, "..", O_RDONLY | O_DIRECTORY)); }},
    {"read /etc/passwd from the own image folder",
     [] { return outcome(::openat(kImages, "../../../../../../../../etc/passwd", O_RDONLY)); }},
    {"plant a link in the own image folder and follow it",
     [] {
       if (::symlinkat("/etc/passwd", kImages, "way-out") != 0) return outcome(-1);
       return outcome(::openat(kImages, "way-out", O_RDONLY));
     }},
    {"list the host's root", [] { return list("/"); }},
    {"list the host's processes", [] { return list("/proc"); }},
    {"read the supervisor's memory", [] { return read_file(of_supervisor("mem").c_str()); }},
    {"read the supervisor's environment",
     [] { return read_file(of_supervisor("environ").c_str()); }},
    {"list the supervisor's descriptors", [] { return list(of_supervisor("fd").c_str()); }},
    {"enter the supervisor's root", [] { return list(of_supervisor("root").c_str()); }},
    {"read /dev/mem", [] { return outcome(::open("/dev/mem", O_RDONLY)); }},
    {"read /proc/kcore", [] { return outcome(::open("/proc/kcore", O_RDONLY)); }},
    {"read the kernel's log", [] { return outcome(::open("/dev/kmsg", O_RDONLY)); }},
    {"read a disk", [] { return outcome(::open("/dev/vda", O_RDONLY)); }},
    {"list /sys", [] { return list("/sys"); }},
    {"list others' shared memory", [] { return list("/dev/shm"); }},
    {"make shared memory with a name",
     [] { return outcome(::shm_open("/farcall-redteam", O_CREAT | O_RDWR, 0600)); }},
    {"write to /tmp", [] { return make_in("/tmp"); }},
    {"write to /", [] { return make_in(""); }},
    {"write to /dev/shm", [] { return make_in("/dev/shm"); }},
    {"write to /var/tmp", [] { return make_in("/var/tmp"); }},
    {"write to the server's folder", [] { return make_in(target("FOLDER")); }},
    {"change a kernel setting", [] { return write_file("/proc/sys/kernel/core_pattern"); }},
    {"find an inherited descriptor that leads out", inherited_descriptors},
    {"leave a chroot", chroot_escape},
    {"open a file by its handle", handle_of_a_file},
    {"mount a file system",
     [] { return outcome(::mount("none", target("MOUNT"), "tmpfs", 0, nullptr)); }},
    {"unmount one", unmount},
    {"make the root writable",
     [] { return outcome(::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND, nullptr)); }},
    {"clone a mount", [] { return outcome(::syscall(SYS_open_tree, AT_FDCWD, "/", 1)); }},
    {"change the root", [] { return outcome(::syscall(SYS_pivot_root, ".", ".")); }},
    {"make a device file",
     [] { return outcome(::mknod("/tmp/farcall-redteam-mem", S_IFCHR | 0600, 0x101)); }},
};

}  // namespace

std::span<const Move> file_moves() { return kMoves; }

}  // namespace farcall::redteam
