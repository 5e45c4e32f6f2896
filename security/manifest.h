// Manifest: which files are the code of a GPU server, and what is in them; signed by whoever
// answers for that. Approval: a signed exception to it for one file, until a date.
//
//   Manifest manifest{.made = now, .files = {{.path = "/usr/bin/farcall-worker", …}}};
//   Result<std::vector<std::byte>> body = encode(manifest);
//   FARCALL_TRY(cosign(kManifestLabel, key, &signed_one));           // cosigned.h
//   Result<Manifest> proven = verify_manifest(signed_one, keys, 1);
//
// Neither is a secret. What a server does with them: code_integrity.h. Files: manifest_file.h.
// Paths are absolute, printable and without symbolic links, as the kernel shows what it has mapped.
// One manifest has one encoding; files stand in the order of their paths, each once.
// Owner: plain values.  Threads: any.  Parsers take hostile bytes.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "security/cosigned.h"
#include "transport/base/limits_manifest.h"
#include "transport/base/status.h"

namespace farcall::security {

using FileDigest = std::array<std::byte, 32>;  // SHA-256

inline constexpr std::string_view kManifestLabel = "farcall code manifest 1";
inline constexpr std::string_view kApprovalLabel = "farcall code approval 1";

// What a file is there for. For who reads it: all are checked alike.
enum class CodeRole : std::uint8_t { kServer = 1, kWorker, kDriver, kLibrary, kOther };
const char* name_of(CodeRole role);  // "server", "worker", "driver", "library", "other"
// Errors: kUnsupported.
Result<CodeRole> parse_code_role(std::string_view text);

struct CodeFile {
  std::string path;
  CodeRole role = CodeRole::kLibrary;
  std::uint64_t bytes = 0;
  FileDigest sha256{};
  // The kernel's own digest of a file with fs-verity, of SHA-256; such a file is not hashed here.
  std::optional<FileDigest> verity{};
  friend bool operator==(const CodeFile&, const CodeFile&) = default;
};

struct Manifest {
  std::int64_t made = 0;   // Unix seconds
  std::int64_t until = 0;  // the first second at which it does not hold any more; 0: there is none
  std::string name;        // for people: "gpu image 2026-11"; may be empty
  std::vector<CodeFile> files;

  // Null where it is not listed.
  const CodeFile* find(std::string_view path) const;
  // In its place; replaces the entry of that path.
  void add(CodeFile file);
  friend bool operator==(const Manifest&, const Manifest&) = default;
};

struct Approval {
  std::string path;
  std::uint64_t bytes = 0;
  FileDigest sha256{};
  std::int64_t made = 0;   // Unix seconds
  std::int64_t until = 0;  // at most limits::kApprovalSecondsMax later
  std::string owner;       // who answers for it
  std::string reason;

  bool covers(std::string_view file, const FileDigest& found, std::int64_t now_s) const {
    return path == file && sha256 == found && now_s < until;
  }
  friend bool operator==(const Approval&, const Approval&) = default;
};

// What is signed.  Errors: kUnsupported with the field that is wrong, kOverQuota.
Result<std::vector<std::byte>> encode(const Manifest& manifest);
Result<std::vector<std::byte>> encode(const Approval& approval);
// What a body says.  Errors: kMalformed.
Result<Manifest> read_manifest(std::span<const std::byte> body);
Result<Approval> read_approval(std::span<const std::byte> body);
// With its signatures.  Errors: kMalformed, kDenied.
Result<Manifest> verify_manifest(const Cosigned& text, const LeaseKeys& keys, std::size_t needed);
Result<Approval> verify_approval(const Cosigned& text, const LeaseKeys& keys, std::size_t needed);

// Tells this manifest from every other: SHA-256 of what is signed. Who signs it later does not
// change it.
FileDigest digest_of(const Cosigned& manifest);

}  // namespace farcall::security
