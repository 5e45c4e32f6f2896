#include "client_shim/trace_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace farcall::shim {
namespace {

std::string with_process(std::string path) {
  for (std::size_t at = path.find("%p"); at != std::string::npos; at = path.find("%p", at)) {
    path.replace(at, 2, std::to_string(::getpid()));
  }
  return path;
}

// Whether a living process holds the lock of the file there.
bool is_being_written(const std::string& path) {
  Fd there(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  return there && ::flock(there.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

Status write_all(int fd, iovec* parts, int count) {
  while (count > 0) {
    ssize_t now = ::writev(fd, parts, count);
    if (now < 0 && errno == EINTR) continue;
    if (now < 0) return Status::system("write the trace");
    auto left = static_cast<std::size_t>(now);
    while (count > 0 && left >= parts->iov_len) {
      left -= parts->iov_len;
      ++parts;
      --count;
    }
    if (count > 0) {
      parts->iov_base = static_cast<char*>(parts->iov_base) + left;
      parts->iov_len -= left;
    }
  }
  return ok();
}

iovec part(std::string_view bytes) { return {const_cast<char*>(bytes.data()), bytes.size()}; }

}  // namespace

Result<Fd> open_trace_file(const std::string& path) {
  std::string mine = with_process(path);
  struct stat there {};
  if (::lstat(mine.c_str(), &there) == 0 && !S_ISREG(there.st_mode)) {
    return Status(Code::kUnsupported, mine + " is not a file, and a trace would replace it");
  }
  // A name of its own for each file, also when two processes come at the same moment: what the
  // other one has made is then being written, and this one goes by its process id.
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (is_being_written(mine)) mine += "." + std::to_string(::getpid());
    ::unlink(mine.c_str());
    Fd file(::open(mine.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file && errno == EEXIST) continue;
    if (!file) return Status::system("open " + mine);
    // A file system without locks loses only the protection against another process.
    static_cast<void>(::flock(file.get(), LOCK_EX | LOCK_NB));
    TraceHeader header{};
    std::memcpy(header.magic, kTraceMagic, sizeof header.magic);
    header.process = static_cast<std::uint32_t>(::getpid());
    header.event_bytes = sizeof(TraceEvent);
    iovec whole{&header, sizeof header};
    FARCALL_TRY(write_all(file.get(), &whole, 1));
    return file;
  }
  return Status(Code::kBusy, "another process keeps making " + mine);
}

Result<std::uint64_t> append_chunk(int fd, TraceChunkKind kind, std::string_view head,
                                   std::string_view body) {
  TraceChunk chunk{kind, static_cast<std::uint32_t>(head.size() + body.size())};
  static constexpr char kPadding[8] = {};
  const std::size_t padding = (8 - chunk.bytes % 8) % 8;
  iovec parts[] = {{&chunk, sizeof chunk}, part(head), part(body), part({kPadding, padding})};
  FARCALL_TRY(write_all(fd, parts, 4));
  return std::uint64_t{sizeof chunk + chunk.bytes + padding};
}

}  // namespace farcall::shim
