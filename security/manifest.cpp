#include "security/manifest.h"

#include <algorithm>

#include "security/digest.h"
#include "security/lease_bytes.h"

namespace farcall::security {
namespace {

constexpr std::array<char, 4> kManifestMagic = {'F', 'C', 'M', 'F'};
constexpr std::array<char, 4> kApprovalMagic = {'F', 'C', 'A', 'P'};
constexpr std::uint8_t kVersion = 1;
constexpr std::string_view kRoles[] = {"server", "worker", "driver", "library", "other"};

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c != 0x7f; });
}

// Bytes from 0x80 on are some alphabet's; the kernel knows none.
bool is_path(std::string_view path) {
  const auto is_fine = [](char c) { return static_cast<unsigned char>(c) >= ' ' && c != 0x7f; };
  return path.size() > 1 && path.size() <= limits::kManifestPathBytesMax && path.front() == '/' &&
         path.back() != '/' && std::all_of(path.begin(), path.end(), is_fine);
}

bool is_role(std::uint8_t role) { return role >= 1 && role <= std::size(kRoles); }

bool is_before(const CodeFile& file, std::string_view path) { return file.path < path; }

// Errors: kUnsupported with the field.
Status check(const Manifest& manifest) {
  if (manifest.files.empty()) return {Code::kUnsupported, "a manifest of no files"};
  if (manifest.files.size() > limits::kManifestFilesMax) {
    return {Code::kOverQuota,
            "a manifest of more than " + std::to_string(limits::kManifestFilesMax) + " files"};
  }
  if (manifest.name.size() > limits::kManifestNameBytesMax || !is_printable(manifest.name)) {
    return {Code::kUnsupported, "a manifest's name is printable, at most " +
                                    std::to_string(limits::kManifestNameBytesMax) + " bytes"};
  }
  if (manifest.until != 0 && manifest.until <= manifest.made) {
    return {Code::kUnsupported, "a manifest that ends before it begins"};
  }
  for (std::size_t i = 0; i < manifest.files.size(); ++i) {
    const CodeFile& file = manifest.files[i];
    if (!is_path(file.path)) {
      return {Code::kUnsupported, "'" + file.path + "' is no absolute path in printable letters"};
    }
    if (i != 0 && !(manifest.files[i - 1].path < file.path)) {
      return {Code::kUnsupported, file.path + " is listed twice, or out of order"};
    }
  }
  return ok();
}

Status check(const Approval& approval) {
  if (!is_path(approval.path)) {
    return {Code::kUnsupported, "'" + approval.path + "' is no absolute path in printable letters"};
  }
  if (approval.made < 0 || approval.until <= approval.made ||
      approval.until - approval.made > limits::kApprovalSecondsMax) {
    return {Code::kUnsupported, "an approval holds for " +
                                    std::to_string(limits::kApprovalSecondsMax / 86'400) +
                                    " days at most: sign a new manifest for longer"};
  }
  const bool named = !approval.owner.empty() && !approval.reason.empty() &&
                     approval.owner.size() <= limits::kApprovalOwnerBytesMax &&
                     approval.reason.size() <= limits::kApprovalReasonBytesMax;
  if (named && is_printable(approval.owner) && is_printable(approval.reason)) return ok();
  return {Code::kUnsupported,
          "an approval says who answers for it and why, in printable letters: " +
              std::to_string(limits::kApprovalOwnerBytesMax) + " and " +
              std::to_string(limits::kApprovalReasonBytesMax) + " bytes at most"};
}

}  // namespace

const char* name_of(CodeRole role) {
  const auto at = static_cast<std::uint8_t>(role);
  return is_role(at) ? kRoles[at - 1].data() : "?";
}

Result<CodeRole> parse_code_role(std::string_view text) {
  const auto* found = std::find(std::begin(kRoles), std::end(kRoles), text);
  if (found != std::end(kRoles)) {
    return static_cast<CodeRole>(found - std::begin(kRoles) + 1);
  }
  return Status(Code::kUnsupported,
                "'" + std::string(text) + "' is none of server, worker, driver, library, other");
}

const CodeFile* Manifest::find(std::string_view path) const {
  const auto at = std::lower_bound(files.begin(), files.end(), path, is_before);
  return at != files.end() && at->path == path ? &*at : nullptr;
}

void Manifest::add(CodeFile file) {
  const auto at = std::lower_bound(files.begin(), files.end(), file.path, is_before);
  if (at != files.end() && at->path == file.path) {
    *at = std::move(file);
  } else {
    files.insert(at, std::move(file));
  }
}

Result<std::vector<std::byte>> encode(const Manifest& manifest) {
  if (Status fits = check(manifest); !fits.ok()) return fits;
  Put out;
  out.value(kManifestMagic);
  out.value(kVersion);
  out.value(manifest.made);
  out.value(manifest.until);
  out.text(manifest.name);
  out.value(static_cast<std::uint16_t>(manifest.files.size()));
  for (const CodeFile& file : manifest.files) {
    out.long_text(file.path);
    out.value(static_cast<std::uint8_t>(file.role));
    out.value(file.bytes);
    out.value(file.sha256);
    out.value(static_cast<std::uint8_t>(file.verity ? 1 : 0));
    if (file.verity) out.value(*file.verity);
  }
  return out.take();
}

Result<Manifest> read_manifest(std::span<const std::byte> body) {
  const Status malformed(Code::kMalformed, "this is no manifest of this version");
  Taken in(body);
  const bool is_it =
      in.get<std::array<char, 4>>() == kManifestMagic && in.get<std::uint8_t>() == kVersion;
  Manifest manifest;
  manifest.made = in.get<std::int64_t>();
  manifest.until = in.get<std::int64_t>();
  manifest.name = in.text();
  const auto count = in.get<std::uint16_t>();
  if (!is_it || in.failed() || count > limits::kManifestFilesMax) return malformed;
  for (std::size_t i = 0; i < count; ++i) {
    CodeFile file;
    file.path = in.long_text();
    const auto role = in.get<std::uint8_t>();
    file.role = static_cast<CodeRole>(role);
    file.bytes = in.get<std::uint64_t>();
    file.sha256 = in.get<FileDigest>();
    const auto verity = in.get<std::uint8_t>();
    if (verity == 1) file.verity = in.get<FileDigest>();
    if (in.failed() || !is_role(role) || verity > 1) return malformed;
    manifest.files.push_back(std::move(file));
  }
  if (!in.done() || !check(manifest).ok()) return malformed;
  return manifest;
}

Result<std::vector<std::byte>> encode(const Approval& approval) {
  if (Status fits = check(approval); !fits.ok()) return fits;
  Put out;
  out.value(kApprovalMagic);
  out.value(kVersion);
  out.value(approval.made);
  out.value(approval.until);
  out.long_text(approval.path);
  out.value(approval.bytes);
  out.value(approval.sha256);
  out.text(approval.owner);
  out.text(approval.reason);
  return out.take();
}

Result<Approval> read_approval(std::span<const std::byte> body) {
  const Status malformed(Code::kMalformed, "this is no approval of this version");
  Taken in(body);
  const bool is_it =
      in.get<std::array<char, 4>>() == kApprovalMagic && in.get<std::uint8_t>() == kVersion;
  Approval approval;
  approval.made = in.get<std::int64_t>();
  approval.until = in.get<std::int64_t>();
  approval.path = in.long_text();
  approval.bytes = in.get<std::uint64_t>();
  approval.sha256 = in.get<FileDigest>();
  approval.owner = in.text();
  approval.reason = in.text();
  if (!is_it || !in.done() || !check(approval).ok()) return malformed;
  return approval;
}

Result<Manifest> verify_manifest(const Cosigned& text, const LeaseKeys& keys, std::size_t needed) {
  auto by = check_cosigned(kManifestLabel, text, keys, needed);
  if (!by.ok()) return by.status();
  return read_manifest(text.body);
}

Result<Approval> verify_approval(const Cosigned& text, const LeaseKeys& keys, std::size_t needed) {
  auto by = check_cosigned(kApprovalLabel, text, keys, needed);
  if (!by.ok()) return by.status();
  return read_approval(text.body);
}

FileDigest digest_of(const Cosigned& manifest) { return sha256(manifest.body); }

}  // namespace farcall::security
