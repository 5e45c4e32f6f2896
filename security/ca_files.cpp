// Certificates with their keys, as files.
#include <unistd.h>

#include "security/ca.h"
#include "security/file.h"

namespace farcall::security {

Status save(const IssuedIdentity& identity, const std::string& certificate_path,
            const std::string& key_path) {
  FARCALL_TRY(write_new_file(key_path, identity.key_pem.bytes(), 0600));
  Status written = write_new_file(certificate_path, bytes_of(identity.certificate_pem), 0644);
  if (!written.ok()) ::unlink(key_path.c_str());
  return written;
}

Result<IssuedIdentity> load(const std::string& certificate_path, const std::string& key_path) {
  Result<SecureBuffer> certificate = read_file(certificate_path);
  if (!certificate.ok()) return certificate.status();
  Result<SecureBuffer> key = read_file(key_path);
  if (!key.ok()) return key.status();
  IssuedIdentity identity;
  identity.certificate_pem.assign(reinterpret_cast<const char*>(certificate->data()),
                                  certificate->size());
  identity.key_pem = std::move(key).value();
  return identity;
}

}  // namespace farcall::security
