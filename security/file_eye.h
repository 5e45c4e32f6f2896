// FileEye: what a file is without reading it, and what is in it.
//
//   Result<FileState> now = system_eye().look("/usr/bin/farcall-worker");     // one lstat()
//   if (now.value() != before) system_eye().hash(path);                       // reads all of it
//
// The state of a file changes with its contents: whoever may write it cannot set the time of its
// last change (ctime) other than by setting the clock, which takes root.
// Owner: system_eye() lives for ever.  Threads: any.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "security/manifest.h"
#include "transport/base/status.h"

namespace farcall::security {

struct FileState {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t bytes = 0;
  std::int64_t written_ns = 0;  // mtime, Unix
  std::int64_t changed_ns = 0;  // ctime, Unix
  friend bool operator==(const FileState&, const FileState&) = default;
};

struct HashedFile {
  FileState state;
  FileDigest sha256{};
};

class FileEye {
 public:
  virtual ~FileEye() = default;
  // Errors: kNotFound; kDenied (a symbolic link or no regular file stands there now); kSystem.
  virtual Result<FileState> look(const std::string& path) const = 0;
  // Errors: the same, and kBusy when it was written to meanwhile.
  virtual Result<HashedFile> hash(const std::string& path) const = 0;
  // The kernel's digest of a file with fs-verity, of SHA-256; nothing where it has none.
  virtual std::optional<FileDigest> verity(const std::string& path) const = 0;
  // Unix time.
  virtual std::int64_t now_ns() const = 0;
};

const FileEye& system_eye();

// What an open file is.  Errors: as look().
Result<FileState> state_of(int descriptor, const std::string& path);

}  // namespace farcall::security
