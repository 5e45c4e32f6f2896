// WatchedFiles: which of a few files were replaced, written or removed since the last look.
//
//   WatchedFiles files({certificate, key, deny_list});
//   poll(… files.fd() …, files.look_ms());        // inotify on their folders, and a clock
//   for (const std::string& path : files.changed()) …
//
// Inotify says when to look, what stat() says counts: so a file put there by a rename, through a
// symbolic link that moved (as Kubernetes does) or on a network file system, of which the kernel
// does not tell, is all one. The clock covers the last.
// Owner: one thread.  Never reads the files.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "transport/base/limits_identity.h"
#include "transport/base/unique.h"

namespace farcall::server {

class WatchedFiles {
 public:
  WatchedFiles() = default;  // none
  // Empty paths are left out.
  explicit WatchedFiles(const std::vector<std::string>& paths);

  int fd() const { return inotify_.get(); }  // -1 where there is no inotify to be had
  // How long to wait for fd() before looking all the same.
  int look_ms() const { return files_.empty() ? -1 : limits::kFileLookMs; }
  // Empties fd() and looks.
  std::vector<std::string> changed();

 private:
  struct Seen {
    dev_t device = 0;
    ino_t inode = 0;
    off_t bytes = -1;  // -1: there is no such file
    timespec written{};
    bool operator==(const Seen& other) const;
  };
  struct File {
    std::string path;
    Seen seen;
  };
  static Seen look(const std::string& path);
  Fd inotify_;
  std::vector<File> files_;
};

}  // namespace farcall::server
