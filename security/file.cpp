#include "security/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "transport/base/unique.h"

namespace farcall::security {
namespace {

Status write_all(const Fd& file, const std::string& path, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const Status why = Status::system("write " + path);
      ::unlink(path.c_str());
      return why;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return ok();
}

}  // namespace

Status write_new_file(const std::string& path, std::span<const std::byte> bytes, mode_t mode) {
  Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!file && errno == EEXIST) {
    return {Code::kDenied, path + " exists already; move it away first"};
  }
  if (!file) return Status::system("create " + path);
  return write_all(file, path, bytes);
}

Status replace_file(const std::string& path, std::span<const std::byte> bytes, mode_t mode) {
  const std::string fresh = path + ".new";
  Fd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!file) return Status::system("create " + fresh);
  FARCALL_TRY(write_all(file, fresh, bytes));
  if (::fsync(file.get()) != 0 || ::rename(fresh.c_str(), path.c_str()) != 0) {
    const Status why = Status::system("replace " + path);
    ::unlink(fresh.c_str());
    return why;
  }
  return ok();
}

}  // namespace farcall::security
