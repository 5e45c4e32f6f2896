#include "security/ca_index_archive.h"

#include <fcntl.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "security/ca_index.h"
#include "security/file.h"
#include "transport/base/unique.h"

namespace farcall::security {
namespace {

constexpr std::int64_t kKeptSeconds = 86'400;

bool is_over(const Issued& one, std::int64_t now) {
  if (one.revoked_at != 0 || one.at == 0) return false;
  const std::int64_t life = one.who.not_after - one.at;
  return now - one.who.not_after > std::max(life, kKeptSeconds);
}

Status append(const std::string& path, const std::string& text) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return Status::system("open " + path);
  FARCALL_TRY(write_all(fd, bytes_of(text), path));
  if (::fdatasync(fd.get()) != 0) return Status::system("sync " + path);
  return sync_folder_of(path);
}

}  // namespace

Status archive_index(const std::string& path, const std::string& archive, std::int64_t now) {
  Result<std::vector<IndexLine>> lines = read_index(path);
  if (!lines.ok()) return lines.status();
  std::set<std::string> over;
  for (const Issued& one : issued_of(lines.value())) {
    if (is_over(one, now)) over.insert(one.who.serial);
  }
  if (over.empty()) return ok();
  std::string first;  // which says that it is an index
  std::getline(std::ifstream(path), first);
  first += '\n';
  std::string kept = first;
  std::string gone = ::access(archive.c_str(), F_OK) == 0 ? "" : first;
  for (const IndexLine& line : lines.value()) {
    (over.contains(line.who.serial) ? gone : kept) += index_line(line);
  }
  FARCALL_TRY(append(archive, gone));
  return replace_file(path, bytes_of(kept), 0600);
}

}  // namespace farcall::security
