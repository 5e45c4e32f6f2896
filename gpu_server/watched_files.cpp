#include "gpu_server/watched_files.h"

#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

namespace farcall::server {

bool WatchedFiles::Seen::operator==(const Seen& other) const {
  return device == other.device && inode == other.inode && bytes == other.bytes &&
         written.tv_sec == other.written.tv_sec && written.tv_nsec == other.written.tv_nsec;
}

WatchedFiles::Seen WatchedFiles::look(const std::string& path) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0) return {};
  return {facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtim};
}

WatchedFiles::WatchedFiles(const std::vector<std::string>& paths) {
  inotify_ = Fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  for (const std::string& path : paths) {
    if (path.empty()) continue;
    const std::size_t slash = path.rfind('/');
    const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
    if (inotify_) {
      // Without a watch the clock does.
      static_cast<void>(::inotify_add_watch(
          inotify_.get(), folder.c_str(),
          IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ONLYDIR));
    }
    files_.push_back({path, look(path)});
  }
}

std::vector<std::string> WatchedFiles::changed() {
  std::array<char, 4096> events;
  while (inotify_ && ::read(inotify_.get(), events.data(), events.size()) > 0) {
  }
  std::vector<std::string> paths;
  for (File& file : files_) {
    const Seen now = look(file.path);
    if (now == file.seen) continue;
    file.seen = now;
    paths.push_back(file.path);
  }
  return paths;
}

}  // namespace farcall::server
