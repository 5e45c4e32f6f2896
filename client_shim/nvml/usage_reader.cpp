#include "client_shim/nvml/usage_reader.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "client_shim/usage_page.h"

namespace farcall::nvml {
namespace {

using shim::Look;
using shim::UsageFigures;
using Folder = Unique<DIR*, ::closedir, nullptr>;

// Calls body(name) for the entries of a folder that are numbers; stops at false.
template <class Body>
void for_each_number(const Folder& folder, const Body& body) {
  while (const dirent* entry = ::readdir(folder.get())) {
    if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
    if (!body(entry->d_name)) return;
  }
}

bool is_page(int folder, const char* descriptor) {
  // What a memfd's link says; " (deleted)" follows.
  static const std::string kStart = std::string("/memfd:").append(shim::kUsageFile);
  char target[64];
  const ssize_t length = ::readlinkat(folder, descriptor, target, sizeof target);
  return length > 0 &&
         std::string_view(target, static_cast<std::size_t>(length)).starts_with(kStart);
}

struct Page {
  UsageFigures figures;
  ino_t inode = 0;
};

// By the time it is opened the descriptor may be another file's, and anybody of this user can
// write one: so everything about it is checked.
std::optional<Page> read_page(int folder, const char* descriptor, std::string_view server) {
  const Fd file(::openat(folder, descriptor, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat about {};
  if (!file || ::fstat(file.get(), &about) != 0 || !S_ISREG(about.st_mode) ||
      about.st_size != static_cast<off_t>(shim::kUsageBytes)) {
    return std::nullopt;
  }
  Page page;
  if (::pread(file.get(), &page.figures, sizeof page.figures, 0) !=
      static_cast<ssize_t>(sizeof page.figures)) {
    return std::nullopt;
  }
  const UsageFigures& figures = page.figures;
  if (figures.magic != shim::kUsageMagic || figures.device_count > limits::kDevicesMax ||
      std::string_view(figures.server, ::strnlen(figures.server, sizeof figures.server)) !=
          server) {
    return std::nullopt;
  }
  page.inode = about.st_ino;
  return page;
}

// Adds what the page says of devices that are in the look.
void add(const UsageFigures& figures, const Look& devices, ProcessUsage* process) {
  for (std::uint32_t i = 0; i < figures.device_count; ++i) {
    for (std::uint32_t at = 0; at < devices.device_count; ++at) {
      if (std::memcmp(figures.devices[i].uuid, devices.devices[at].uuid, 16) != 0) continue;
      process->bytes[at] += figures.devices[i].bytes;
      break;
    }
  }
}

// A page is open in two processes for the moment between a fork and the exec behind it: it counts
// for the one that made it.
struct Found {
  ProcessUsage usage;
  ino_t inode;
  bool is_owner;
};

void keep(Found found, std::vector<Found>* all) {
  for (Found& known : *all) {
    if (known.inode != found.inode) continue;
    if (found.is_owner) known = found;
    return;
  }
  all->push_back(found);
}

void read_process(int proc, const char* pid_name, const Look& devices, std::vector<Found>* all) {
  struct stat about {};
  const std::string path = std::string(pid_name) + "/fd";
  if (::fstatat(proc, pid_name, &about, 0) != 0 || about.st_uid != ::geteuid()) return;
  const Folder folder([&]() -> DIR* {
    Fd opened(::openat(proc, path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    DIR* stream = opened ? ::fdopendir(opened.get()) : nullptr;
    if (stream != nullptr) (void)opened.release();
    return stream;
  }());
  if (!folder) return;
  const int at = ::dirfd(folder.get());
  std::uint32_t pid = 0;
  std::from_chars(pid_name, pid_name + std::strlen(pid_name), pid);
  for_each_number(folder, [&](const char* descriptor) {
    if (!is_page(at, descriptor)) return true;
    const std::optional<Page> page = read_page(at, descriptor, devices.server);
    if (!page) return true;
    Found found{.usage = {.pid = pid}, .inode = page->inode, .is_owner = page->figures.pid == pid};
    add(page->figures, devices, &found.usage);
    keep(found, all);
    return true;
  });
}

}  // namespace

std::vector<ProcessUsage> read_usage(const Look& devices) {
  const Folder proc(::opendir("/proc"));
  std::vector<Found> all;
  if (!proc) return {};
  for_each_number(proc, [&](const char* pid_name) {
    read_process(::dirfd(proc.get()), pid_name, devices, &all);
    return all.size() < kProcessesMax;
  });
  std::vector<ProcessUsage> processes;
  for (const Found& found : all) {
    const auto& bytes = found.usage.bytes;
    if (std::any_of(bytes.begin(), bytes.end(), [](std::uint64_t held) { return held != 0; })) {
      processes.push_back(found.usage);
    }
  }
  std::sort(processes.begin(), processes.end(),
            [](const auto& a, const auto& b) { return a.pid < b.pid; });
  return processes;
}

}  // namespace farcall::nvml
