#include "security/audit_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

namespace farcall::security {
namespace {

constexpr std::size_t kReadBytes = 256 * 1024;

}  // namespace

Result<AuditLines> AuditLines::open(const std::string& path) {
  Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (file) return AuditLines(std::move(file), path);
  const int error = errno;
  const Status why = Status::system("open " + path, error);
  if (error == ENOENT) return Status(Code::kNotFound, why.text());
  if (error == EACCES) return Status(Code::kDenied, why.text());
  return why;
}

Result<AuditLines> AuditLines::open_at(const std::string& path, std::uint64_t offset) {
  Result<AuditLines> lines = open(path);
  if (!lines.ok()) return lines;
  if (::lseek(lines->file_.get(), static_cast<off_t>(offset), SEEK_SET) < 0) {
    return Status::system("read " + path);
  }
  lines->consumed_ = offset;
  return lines;
}

bool AuditLines::fill() {
  buffer_.resize(kReadBytes);
  at_ = 0;
  ssize_t got;
  do got = ::read(file_.get(), buffer_.data(), buffer_.size());
  while (got < 0 && errno == EINTR);
  if (got < 0) status_ = Status::system("read " + path_);
  buffer_.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return got > 0;
}

bool AuditLines::next() {
  line_.clear();
  offset_ = consumed_;
  whole_ = false;
  bool any = false;
  while (!whole_) {
    if (at_ == buffer_.size() && !fill()) break;
    any = true;
    const std::size_t feed = buffer_.find('\n', at_);
    whole_ = feed != std::string::npos;
    const std::size_t end = whole_ ? feed : buffer_.size();
    const std::size_t room = limits::kAuditLineBytesMax - line_.size();
    line_.append(buffer_, at_, std::min(end - at_, room));
    consumed_ += end - at_ + (whole_ ? 1 : 0);
    at_ = end + (whole_ ? 1 : 0);
  }
  if (!any || !status_.ok()) return false;
  ++number_;
  return true;
}

}  // namespace farcall::security
