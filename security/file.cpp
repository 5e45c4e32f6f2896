#include "security/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "security/crypto.h"
#include "transport/base/key_memory.h"

namespace farcall::security {

namespace {

// No file with a key is longer; what is, is a list or a chain of certificates.
constexpr std::size_t kKeyFileBytesMax = 16 * 1024;

}  // namespace

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

Result<SecureBuffer> read_file(const std::string& path, std::size_t bytes_max) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    const Code code = errno == ENOENT ? Code::kNotFound : Code::kDenied;
    return Status(code, "open " + path + ": " + std::strerror(errno));
  }
  struct stat facts {};
  if (::fstat(fd.get(), &facts) != 0) return Status::system("stat " + path);
  const auto bytes = static_cast<std::size_t>(facts.st_size);
  if (!S_ISREG(facts.st_mode) || bytes == 0 || bytes > bytes_max) {
    return Status(Code::kDenied, path + " is no plain file of 1 to " + std::to_string(bytes_max) +
                                     " bytes, as this one must be");
  }
  Result<SecureBuffer> buffer =
      bytes <= kKeyFileBytesMax ? make_key_buffer(bytes) : SecureBuffer::make(bytes);
  if (!buffer.ok()) return buffer;
  for (std::size_t at = 0; at < bytes;) {
    const ssize_t got = ::read(fd.get(), buffer->data() + at, bytes - at);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Status::system("read " + path, got < 0 ? errno : EIO);
    at += static_cast<std::size_t>(got);
  }
  return buffer;
}

Result<std::string> read_text(const std::string& path, std::size_t bytes_max) {
  Result<SecureBuffer> bytes = read_file(path, bytes_max);
  if (!bytes.ok()) return bytes.status();
  return std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size());
}

Status write_all(const Fd& file, std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return Status::system("write " + path, written == 0 ? ENOSPC : errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return ok();
}

Status sync_folder_of(const std::string& path) {
  std::string folder = std::filesystem::path(path).parent_path();
  if (folder.empty()) folder = ".";
  Fd open(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!open || ::fsync(open.get()) != 0) return Status::system("write " + folder);
  return ok();
}

Status write_new_file(const std::string& path, std::span<const std::byte> bytes, mode_t mode) {
  Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!file && errno == EEXIST) {
    return {Code::kDenied, path + " exists already; move it away first"};
  }
  if (!file) return Status::system("create " + path);
  Status done = write_all(file, bytes, path);
  if (done.ok() && ::fsync(file.get()) != 0) done = Status::system("write " + path);
  if (done.ok()) done = sync_folder_of(path);
  if (!done.ok()) ::unlink(path.c_str());
  return done;
}

Status replace_file(const std::string& path, std::span<const std::byte> bytes, mode_t mode) {
  std::array<std::byte, 8> random{};
  fill_random(random);
  const std::string fresh = path + "." + to_hex(random);
  FARCALL_TRY(write_new_file(fresh, bytes, mode));
  if (::rename(fresh.c_str(), path.c_str()) != 0) {
    const Status why = Status::system("replace " + path);
    ::unlink(fresh.c_str());
    return why;
  }
  return sync_folder_of(path);
}

}  // namespace farcall::security
