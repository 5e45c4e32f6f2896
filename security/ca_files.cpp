#include "security/ca_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "security/ca_parts.h"
#include "security/crypto.h"
#include "transport/base/unique.h"

namespace farcall::security {
namespace {

Status write_all(const Fd& fd, std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Status::system("write " + path);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return ok();
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// A rename is on the disk when its folder is.
Status sync_folder(const std::string& path) {
  Fd folder(::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::fsync(folder.get()) != 0) return Status::system("sync " + folder_of(path));
  return ok();
}

}  // namespace

Status write_new_file(const std::string& path, std::span<const std::byte> bytes, mode_t mode) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd && errno == EEXIST) {
    return {Code::kDenied, path + " exists already; move it away first"};
  }
  if (!fd) return Status::system("create " + path);
  Status written = write_all(fd, bytes, path);
  if (!written.ok()) ::unlink(path.c_str());
  return written;
}

Status replace_file(const std::string& path, std::span<const std::byte> bytes, mode_t mode) {
  std::array<std::byte, 8> random{};
  fill_random(random);
  const std::string fresh = path + "." + to_hex(random);
  FARCALL_TRY(write_new_file(fresh, bytes, mode));
  Fd fd(::open(fresh.c_str(), O_RDONLY | O_CLOEXEC));
  Status done = fd && ::fsync(fd.get()) == 0 ? ok() : Status::system("sync " + fresh);
  if (done.ok() && ::rename(fresh.c_str(), path.c_str()) != 0) {
    done = Status::system("replace " + path);
  }
  if (done.ok()) return sync_folder(path);
  ::unlink(fresh.c_str());
  return done;
}

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
