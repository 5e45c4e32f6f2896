#include "security/measured_files.h"

#include <algorithm>

namespace farcall::security {
namespace {

bool has_settled(const FileState& state, std::int64_t now_ns) {
  const std::int64_t last = std::max(state.written_ns, state.changed_ns);
  return last <= now_ns && now_ns - last > limits::kMeasureSettleNs;
}

}  // namespace

Result<MeasuredFiles::Found> MeasuredFiles::measure(const CodeFile& listed) {
  Result<FileState> now = eye_.look(listed.path);
  if (!now.ok()) {
    // Gone, or not a file any more: whatever comes back is another.
    if (files_.lock()->erase(listed.path) != 0) ++changes_;
    return now.status();
  }
  {
    auto files = files_.lock();
    const auto known = files->find(listed.path);
    if (known != files->end() && known->second.settled && known->second.state == now.value()) {
      return Found{known->second.sha256, now->bytes, 0};
    }
  }
  // Before it is read, so that a write while it is read is not taken for an older one.
  const std::int64_t now_ns = eye_.now_ns();
  MeasuredFile measured{now.value(), listed.sha256, has_settled(now.value(), now_ns)};
  std::uint64_t hashed = 0;
  if (!listed.verity || eye_.verity(listed.path) != listed.verity) {
    Result<HashedFile> read = eye_.hash(listed.path);
    if (!read.ok()) return read.status();
    measured = {read->state, read->sha256, has_settled(read->state, now_ns)};
    hashed = read->state.bytes;
  }
  auto files = files_.lock();
  const auto known = files->find(listed.path);
  const bool is_new = known == files->end();
  if (!is_new &&
      (known->second.state != measured.state || known->second.sha256 != measured.sha256)) {
    ++changes_;
  }
  if (is_new && files->size() == limits::kMeasuredFilesMax) {
    return Status(Code::kOverQuota,
                  "more files than " + std::to_string(limits::kMeasuredFilesMax) + " to remember");
  }
  (*files)[listed.path] = measured;
  grew_ = true;
  return Found{measured.sha256, measured.state.bytes, hashed};
}

bool MeasuredFiles::is_measured(const std::string& path, const FileState& open) const {
  auto files = files_.lock();
  const auto known = files->find(path);
  return known != files->end() && known->second.state == open;
}

}  // namespace farcall::security
