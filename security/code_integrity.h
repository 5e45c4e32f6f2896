// CodeIntegrity: is this server's code what its signed manifest says?
//
//   auto code = CodeIntegrity::open({.manifest = "gpu1.manifest", .keys = "/etc/farcall/keys"});
//   CodeVerdict now = code.value()->look();               // unchanged: one lstat() a file
//   if (!now.fine()) refuse(now.findings[0].text());
//   CodeVerdict all = code.value()->look(loaded);          // and what a worker runs is listed
//
// What has not changed since it was hashed is not read again (measured_files.h). What differs from
// the manifest is a finding, until the file is what it was again, a manifest that says otherwise is
// put in force, or an approval covers just these bytes at this place and has not expired.
// The manifest may be signed by several (`signatures`), approvals then as well. A manifest that is
// past its date is a finding of its own.
// What this cannot tell: whether code in memory was changed (worker and libraries are mapped from
// the files that are looked at, and the kernel writes no such page back), and anything to a server
// whose own code is not to be trusted any more: that is what a TPM is for.
// Owner: the object.  Threads: any.  Never logs; the caller does.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "security/manifest.h"
#include "security/measured_files.h"
#include "transport/base/guarded.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::security {

struct CodeOptions {
  std::string manifest{};
  std::string keys{};       // whose signatures count: a PEM file or a folder of *.pub
  std::string approvals{};  // exceptions; empty, or not there: none
  std::size_t signatures = 1;
  bool refuse_unlisted = true;  // what is loaded and not listed; else it is only told of
  std::string cache{};          // folder of what was measured; empty: hashed at each start
  bool operator==(const CodeOptions&) const = default;
};

struct CodeFinding {
  enum class Kind : std::uint8_t { kChanged, kGone, kUnlisted, kUnreadable, kManifest };
  Kind kind = Kind::kChanged;
  std::string path;
  FileDigest expected{};  // of kChanged
  FileDigest found{};     // of kChanged and kUnlisted
  std::string why;        // of kGone, kUnreadable, kManifest

  // "/usr/bin/farcall-worker was changed: SHA-256 …, the manifest says …"
  std::string text() const;
  friend bool operator==(const CodeFinding&, const CodeFinding&) = default;
};

struct CodeVerdict {
  std::uint64_t changes = 0;  // MeasuredFiles::changes(), after the look
  std::size_t files = 0;      // that were looked at
  std::uint64_t hashed = 0;   // bytes that were read for it
  std::vector<CodeFinding> findings;
  std::vector<CodeFinding> unlisted;  // told of only, where those are not refused
  std::vector<Approval> approved;     // exceptions that were needed

  bool fine() const { return findings.empty(); }
};

class CodeIntegrity {
 public:
  // Errors, with the path: kNotFound, kDenied (not signed by enough of the keys, or changed since),
  // kMalformed, kOverQuota, kSystem.
  static Result<std::unique_ptr<CodeIntegrity>> open(const CodeOptions& options,
                                                     const FileEye& eye = system_eye());

  // loaded: paths of what some process runs, as the kernel names them.
  CodeVerdict look(std::span<const std::string> loaded = {});
  // The file at `path`, open, as it was measured by the last look: what is executed by this
  // descriptor is what was hashed, whatever is put at its path.
  // Errors: kBusy (it is another one now), those of open(2).
  Result<Fd> open_measured(const std::string& path) const;

  // Manifest, keys and approvals are read again where their files have changed. What cannot be
  // taken leaves the former in force.  Errors: those of open; ok, and *changed, when it was taken.
  Status reload(bool* changed);
  // What was hashed since the last call is written to the cache.  Errors: kSystem, kDenied.
  Status save();

  // Of the manifest in force (digest_of): what a TPM's quote binds.
  FileDigest digest() const;
  Manifest manifest() const;
  std::size_t approvals() const;  // that are good now
  const CodeOptions& options() const { return options_; }
  // Why the cache could not be used at the start; ok where it was, or is not there yet.
  const Status& cache_status() const { return cache_status_; }

 private:
  // Replaced as a whole.
  struct InForce {
    Manifest manifest;
    FileDigest digest{};
    std::vector<Approval> approvals;
  };
  using InForcePtr = std::shared_ptr<const InForce>;
  struct Sources {
    std::vector<FileState> seen;  // of manifest and approvals; a missing one is all zeros
    friend bool operator==(const Sources&, const Sources&) = default;
  };
  CodeIntegrity(const CodeOptions& options, const FileEye& eye);
  Result<InForcePtr> read() const;
  Sources look_at_sources() const;
  void judge(const InForce& in_force, const CodeFile& file, bool listed, CodeVerdict* verdict);

  const CodeOptions options_;
  const FileEye& eye_;
  MeasuredFiles measured_;
  Status cache_status_;
  mutable Guarded<InForcePtr> in_force_;
  Guarded<Sources> sources_;
};

}  // namespace farcall::security
