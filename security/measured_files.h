// MeasuredFiles: what was found in files, remembered, so that a file that has not changed is never
// read twice; and kept on disk from one start of a server to the next.
//
//   MeasuredFiles files(system_eye());
//   FARCALL_TRY(files.load(folder, boot_id()));
//   Result<MeasuredFiles::Found> worker = files.measure(listed);      // 0 bytes hashed the 2nd
//   time if (files.grew()) FARCALL_TRY(files.save(folder, boot_id()));
//
// A file counts as unchanged by device, inode, size and the times of its last write and change, all
// of them older than limits::kMeasureSettleNs when it was read. One with fs-verity whose digest the
// manifest names is never read: the kernel checks each page against it.
// On disk (`measured` and `measured.key`, 0600, in a folder of 0700) it is sealed with HMAC-SHA-256
// under a key that only the server's user can read, and holds for one boot of one machine: what
// somebody changes on the disk of a machine that is off is read again.
// Owner: the object.  Threads: any; measure() reads files without a lock.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "security/file_eye.h"
#include "security/manifest.h"
#include "transport/base/guarded.h"
#include "transport/base/status.h"

namespace farcall::security {

struct MeasuredFile {
  FileState state;
  FileDigest sha256{};
  bool settled = false;  // its state tells of every later change
  friend bool operator==(const MeasuredFile&, const MeasuredFile&) = default;
};
using MeasuredByPath = std::map<std::string, MeasuredFile>;

// What a sealed file says, its seal unseen; one table has one encoding. Those that have not settled
// are left out.
std::vector<std::byte> encode(const MeasuredByPath& files, std::string_view boot);
// Errors: kMalformed; kDenied when it is of another boot.
Result<MeasuredByPath> read_measured(std::span<const std::byte> bytes, std::string_view boot);

class MeasuredFiles {
 public:
  struct Found {
    FileDigest sha256{};
    std::uint64_t bytes = 0;
    std::uint64_t hashed = 0;  // bytes that were read for it
  };
  explicit MeasuredFiles(const FileEye& eye) : eye_(eye) {}

  // What is in the file now. listed: what it should be; only path and fs-verity's digest count.
  // Errors: those of FileEye.
  Result<Found> measure(const CodeFile& listed);
  // Grows whenever a file that was measured is found to be another, or otherwise, than it was:
  // where it has not grown between two looks at a file, nothing was put in its place meanwhile.
  std::uint64_t changes() const { return changes_.load(); }
  // Is this open file what was measured at its path?
  bool is_measured(const std::string& path, const FileState& open) const;

  // Has anything been hashed since the last save()?
  bool grew() const { return grew_.load(); }
  // Makes folder and key where there are none.  Errors: kDenied (others can read the key), kSystem.
  Status save(const std::string& folder, std::string_view boot);
  // Nothing there is no error.  Errors: kDenied (the seal is broken, another boot), kMalformed.
  Status load(const std::string& folder, std::string_view boot);

 private:
  const FileEye& eye_;
  mutable Guarded<MeasuredByPath> files_;
  std::atomic<std::uint64_t> changes_{0};
  std::atomic<bool> grew_{false};
};

// /var/lib/farcall/measured for root, else below XDG_STATE_HOME or HOME; empty where neither is
// known.
std::string default_measured_folder();

// Of this boot of this machine; empty where the kernel does not tell.
std::string boot_id();

}  // namespace farcall::security
