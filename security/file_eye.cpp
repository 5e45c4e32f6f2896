#include "security/file_eye.h"

#include <fcntl.h>
#include <linux/fsverity.h>
#include <openssl/evp.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <ctime>
#include <memory>
#include <vector>

#include "security/crypto.h"
#include "transport/base/unique.h"

namespace farcall::security {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;

std::int64_t ns_of(const timespec& time) { return time.tv_sec * kSecondNs + time.tv_nsec; }

Result<FileState> state_of(const struct stat& facts, const std::string& path) {
  if (S_ISLNK(facts.st_mode)) return Status(Code::kDenied, path + " is a symbolic link now");
  if (!S_ISREG(facts.st_mode)) return Status(Code::kDenied, path + " is no regular file");
  FileState state;
  state.device = facts.st_dev;
  state.inode = facts.st_ino;
  state.bytes = static_cast<std::uint64_t>(facts.st_size);
  state.written_ns = ns_of(facts.st_mtim);
  state.changed_ns = ns_of(facts.st_ctim);
  return state;
}

Status why_not(const std::string& path) {
  if (errno == ENOENT || errno == ENOTDIR) return {Code::kNotFound, path + " is not there"};
  if (errno == ELOOP) return {Code::kDenied, path + " is a symbolic link now"};
  return Status::system("open " + path);
}

Fd opened(const std::string& path) {
  // Whatever was put there must not hold us up.
  return Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
}

struct FreeDigest {
  void operator()(EVP_MD_CTX* digest) const { EVP_MD_CTX_free(digest); }
};

Result<FileDigest> digest_of(const Fd& file, const std::string& path) {
  init_crypto();
  const std::unique_ptr<EVP_MD_CTX, FreeDigest> digest(EVP_MD_CTX_new());
  bool fine = digest && EVP_DigestInit_ex(digest.get(), EVP_sha256(), nullptr) == 1;
  std::vector<std::byte> piece(limits::kMeasurePieceBytes);
  while (fine) {
    const ssize_t got = ::read(file.get(), piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Status::system("read " + path);
    if (got == 0) break;
    fine = EVP_DigestUpdate(digest.get(), piece.data(), static_cast<std::size_t>(got)) == 1;
  }
  FileDigest found{};
  auto* out = reinterpret_cast<unsigned char*>(found.data());
  if (!fine || EVP_DigestFinal_ex(digest.get(), out, nullptr) != 1) {
    return Status(Code::kSystem, "hash " + path + ": " + take_crypto_error());
  }
  return found;
}

class SystemEye final : public FileEye {
 public:
  Result<FileState> look(const std::string& path) const override {
    struct stat facts {};
    if (::lstat(path.c_str(), &facts) != 0) return why_not(path);
    return state_of(facts, path);
  }
  Result<HashedFile> hash(const std::string& path) const override {
    const Fd file = opened(path);
    if (!file) return why_not(path);
    Result<FileState> before = security::state_of(file.get(), path);
    if (!before.ok()) return before.status();
    Result<FileDigest> found = digest_of(file, path);
    if (!found.ok()) return found.status();
    Result<FileState> after = security::state_of(file.get(), path);
    if (!after.ok()) return after.status();
    if (after.value() != before.value()) {
      return Status(Code::kBusy, path + " was written to while it was read");
    }
    return HashedFile{after.value(), found.value()};
  }
  std::optional<FileDigest> verity(const std::string& path) const override {
    const Fd file = opened(path);
    FileDigest digest{};
    alignas(fsverity_digest) std::array<std::byte, sizeof(fsverity_digest) + sizeof digest> room{};
    auto* answer = reinterpret_cast<fsverity_digest*>(room.data());
    answer->digest_size = sizeof digest;
    if (!file || ::ioctl(file.get(), FS_IOC_MEASURE_VERITY, answer) != 0) return std::nullopt;
    if (answer->digest_algorithm != FS_VERITY_HASH_ALG_SHA256 ||
        answer->digest_size != sizeof digest) {
      return std::nullopt;
    }
    std::memcpy(digest.data(), answer->digest, sizeof digest);
    return digest;
  }
  std::int64_t now_ns() const override {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return ns_of(now);
  }
};

}  // namespace

Result<FileState> state_of(int descriptor, const std::string& path) {
  struct stat facts {};
  if (::fstat(descriptor, &facts) != 0) return Status::system("stat " + path);
  return state_of(facts, path);
}

const FileEye& system_eye() {
  static const SystemEye eye;
  return eye;
}

}  // namespace farcall::security
