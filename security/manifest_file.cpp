#include "security/manifest_file.h"

#include "security/armour.h"

namespace farcall::security {
namespace {

constexpr const char* kManifestArmour = "FARCALL MANIFEST";
constexpr const char* kApprovalArmour = "FARCALL APPROVAL";

Status too_many(const std::string& path) {
  return {Code::kOverQuota, path + ": more than " + std::to_string(limits::kApprovalsMax) +
                                " approvals: sign a new manifest instead"};
}

}  // namespace

Result<Cosigned> load_manifest(const std::string& path) {
  auto file = ArmourReader::open(path, kManifestArmour, limits::kManifestFileBytesMax);
  if (!file.ok()) return file.status();
  std::vector<std::byte> bytes;
  if (!file->next(&bytes)) {
    return Status(Code::kDenied, path + " holds no manifest: farcall manifest make writes one");
  }
  Result<Cosigned> text = read_cosigned(bytes);
  if (!text.ok()) return Status(text.status().code(), path + ": " + text.status().text());
  if (file->next(&bytes)) return Status(Code::kDenied, path + " holds more manifests than one");
  return text;
}

Status save_manifest(const Cosigned& text, const std::string& path) {
  Result<std::string> pem = armoured(kManifestArmour, encode(text));
  if (!pem.ok()) return pem.status();
  return replace_file(path, bytes_of(pem.value()), 0644);
}

Result<FileDigest> digest_of_manifest(const std::string& path) {
  Result<Cosigned> text = load_manifest(path);
  if (!text.ok()) return text.status();
  return digest_of(text.value());
}

Result<std::vector<Cosigned>> load_approvals(const std::string& path) {
  auto file = ArmourReader::open(path, kApprovalArmour, limits::kApprovalFileBytesMax);
  if (!file.ok()) return file.status();
  std::vector<Cosigned> all;
  for (std::vector<std::byte> bytes; file->next(&bytes);) {
    if (all.size() == limits::kApprovalsMax) return too_many(path);
    Result<Cosigned> one = read_cosigned(bytes);
    if (!one.ok()) return Status(one.status().code(), path + ": " + one.status().text());
    all.push_back(std::move(one).value());
  }
  if (!all.empty()) return all;
  return Status(Code::kDenied, path + " holds no approval: farcall manifest approve writes one");
}

Status save_approvals(const std::vector<Cosigned>& all, const std::string& path) {
  if (all.size() > limits::kApprovalsMax) return too_many(path);
  std::string text;
  for (const Cosigned& each : all) {
    Result<std::string> pem = armoured(kApprovalArmour, encode(each));
    if (!pem.ok()) return pem.status();
    text += pem.value();
  }
  return replace_file(path, bytes_of(text), 0644);
}

}  // namespace farcall::security
