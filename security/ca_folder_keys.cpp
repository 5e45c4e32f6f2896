// Where a folder's authorities have their keys: in files beside the certificates, or where a line
// in a file says (key_store.h).
#include <unistd.h>

#include <cerrno>

#include "security/ca_folder.h"
#include "security/file.h"

namespace farcall::security {
namespace {

constexpr std::size_t kUriBytesMax = 4096;

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

}  // namespace

bool CaFolder::has_key(const Pair& at) { return exists(at.key) || exists(at.key_uri()); }

Result<IssuedIdentity> CaFolder::load_pair(const Pair& at) const {
  if (exists(at.key)) return load(at.certificate, at.key);
  if (!exists(at.key_uri())) {
    return Status(Code::kNotFound, "the key of " + at.certificate + " is not here: bring " +
                                       at.key + " back for as long as this takes");
  }
  Result<std::string> certificate = read_text(at.certificate, kPemBytesMax);
  if (!certificate.ok()) return certificate.status();
  Result<std::string> uri = read_text(at.key_uri(), kUriBytesMax);
  if (!uri.ok()) return uri.status();
  uri->erase(uri->find_last_not_of(" \r\n") + 1);
  Result<std::shared_ptr<HeldKey>> key = key_at(uri.value(), true);
  if (!key.ok()) return Status(key.status().code(), at.key_uri() + ": " + key.status().text());
  return IssuedIdentity{certificate.value(), {}, std::move(key).value()};
}

Result<std::shared_ptr<HeldKey>> CaFolder::key_at(const std::string& uri, bool existing) const {
  if (uri.empty()) return std::shared_ptr<HeldKey>();
  if (keys_ == nullptr) {
    return Status(Code::kUnsupported, "this program reaches no keys but those in files");
  }
  return existing ? keys_->open(uri) : keys_->make(uri);
}

Status CaFolder::save_new_pair(const IssuedIdentity& authority, const std::string& uri,
                               const Pair& at) {
  if (uri.empty()) return save(authority, at.certificate, at.key);
  FARCALL_TRY(write_new_file(at.key_uri(), bytes_of(uri + "\n"), 0600));
  Status written = write_new_file(at.certificate, bytes_of(authority.certificate_pem), 0644);
  if (!written.ok()) ::unlink(at.key_uri().c_str());
  return written;
}

Status CaFolder::replace_key(const IssuedIdentity& authority, const std::string& uri,
                             const Pair& at) {
  if (uri.empty()) return replace_file(at.key, authority.key_pem.bytes(), 0600);
  FARCALL_TRY(replace_file(at.key_uri(), bytes_of(uri + "\n"), 0600));
  return ::unlink(at.key.c_str()) == 0 || errno == ENOENT ? ok()
                                                          : Status::system("remove " + at.key);
}

}  // namespace farcall::security
