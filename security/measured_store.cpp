// What was measured, on disk: sealed with a key of this server's own.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "security/crypto.h"
#include "security/file.h"
#include "security/hmac.h"
#include "security/lease_bytes.h"
#include "security/measured_files.h"

namespace farcall::security {
namespace {

constexpr std::array<char, 4> kMagic = {'F', 'C', 'M', 'S'};
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kKeyBytes = 32;
constexpr const char* kFile = "/measured";
constexpr const char* kKeyFile = "/measured.key";

Result<SecureBuffer> read_key(const std::string& path) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) == 0 &&
      ((facts.st_mode & 077) != 0 || facts.st_uid != ::geteuid())) {
    return Status(Code::kDenied, path +
                                     " can be read by others than this user: remove it, and the "
                                     "server makes another");
  }
  Result<SecureBuffer> key = read_file(path);
  if (key.ok() && key->size() != kKeyBytes) {
    return Status(Code::kDenied, path + " is no key of this version: remove it");
  }
  return key;
}

Result<SecureBuffer> key_of(const std::string& folder) {
  const std::string path = folder + kKeyFile;
  Result<SecureBuffer> key = read_key(path);
  if (key.ok() || key.status().code() != Code::kNotFound) return key;
  Result<SecureBuffer> fresh = SecureBuffer::make(kKeyBytes);
  if (!fresh.ok()) return fresh;
  fill_random({fresh->data(), fresh->size()});
  FARCALL_TRY(write_new_file(path, {fresh->data(), fresh->size()}, 0600));
  return fresh;
}

Status seal(const SecureBuffer& key, std::span<const std::byte> bytes,
            std::span<std::byte, Hmac::kBytes> out) {
  Result<Hmac> mac = Hmac::make({key.data(), key.size()});
  if (!mac.ok()) return mac.status();
  mac->add(bytes);
  return mac->finish(out);
}

// In a time that does not tell where they differ.
bool is_same(std::span<const std::byte> one, std::span<const std::byte> other) {
  std::byte differs{0};
  for (std::size_t i = 0; i < one.size(); ++i) differs |= one[i] ^ other[i];
  return one.size() == other.size() && differs == std::byte{0};
}

}  // namespace

std::vector<std::byte> encode(const MeasuredByPath& files, std::string_view boot) {
  const auto settled = static_cast<std::uint32_t>(
      std::count_if(files.begin(), files.end(), [](const auto& f) { return f.second.settled; }));
  Put out;
  out.value(kMagic);
  out.value(kVersion);
  out.text(boot);
  out.value(settled);
  for (const auto& [path, file] : files) {
    if (!file.settled) continue;
    out.long_text(path);
    out.value(file.state.device);
    out.value(file.state.inode);
    out.value(file.state.bytes);
    out.value(file.state.written_ns);
    out.value(file.state.changed_ns);
    out.value(file.sha256);
  }
  return out.take();
}

Result<MeasuredByPath> read_measured(std::span<const std::byte> bytes, std::string_view boot) {
  const Status malformed(Code::kMalformed, "this is no table of measured files");
  Taken in(bytes);
  const bool is_it = in.get<std::array<char, 4>>() == kMagic && in.get<std::uint8_t>() == kVersion;
  const std::string of = in.text();
  const auto count = in.get<std::uint32_t>();
  if (!is_it || in.failed() || count > limits::kMeasuredFilesMax) return malformed;
  if (boot.empty() || of != boot) {
    return Status(Code::kDenied, "it is of another start of this machine");
  }
  MeasuredByPath files;
  for (std::uint32_t i = 0; i < count; ++i) {
    std::string path = in.long_text();
    MeasuredFile file;
    file.state.device = in.get<std::uint64_t>();
    file.state.inode = in.get<std::uint64_t>();
    file.state.bytes = in.get<std::uint64_t>();
    file.state.written_ns = in.get<std::int64_t>();
    file.state.changed_ns = in.get<std::int64_t>();
    file.sha256 = in.get<FileDigest>();
    file.settled = true;
    if (in.failed() || (i != 0 && !(files.rbegin()->first < path))) return malformed;
    files.emplace_hint(files.end(), std::move(path), file);
  }
  if (!in.done()) return malformed;
  return files;
}

Status MeasuredFiles::save(const std::string& folder, std::string_view boot) {
  if (boot.empty()) return {Code::kUnsupported, "the kernel does not tell which boot this is"};
  std::error_code error;
  if (std::filesystem::create_directories(folder, error)) ::chmod(folder.c_str(), 0700);
  if (error) return Status::system("make " + folder, error.value());
  Result<SecureBuffer> key = key_of(folder);
  if (!key.ok()) return key.status();
  grew_ = false;
  std::vector<std::byte> bytes = encode(*files_.lock(), boot);
  std::array<std::byte, Hmac::kBytes> tag{};
  FARCALL_TRY(seal(key.value(), bytes, tag));
  bytes.insert(bytes.end(), tag.begin(), tag.end());
  return replace_file(folder + kFile, bytes, 0600);
}

Status MeasuredFiles::load(const std::string& folder, std::string_view boot) {
  Result<SecureBuffer> file = read_file(folder + kFile, limits::kMeasuredBytesMax);
  if (file.status().code() == Code::kNotFound) return ok();
  if (!file.ok()) return file.status();
  Result<SecureBuffer> key = read_key(folder + kKeyFile);
  if (!key.ok()) return key.status();
  const std::span<const std::byte> all(file->data(), file->size());
  if (all.size() < Hmac::kBytes) return read_measured(all, boot).status();
  const auto bytes = all.first(all.size() - Hmac::kBytes);
  std::array<std::byte, Hmac::kBytes> tag{};
  FARCALL_TRY(seal(key.value(), bytes, tag));
  if (!is_same(all.last(Hmac::kBytes), tag)) {
    return {Code::kDenied, folder + kFile + " was changed by somebody else than this server"};
  }
  Result<MeasuredByPath> files = read_measured(bytes, boot);
  if (!files.ok()) return files.status();
  *files_.lock() = std::move(files).value();
  return ok();
}

std::string default_measured_folder() {
  if (::geteuid() == 0) return "/var/lib/farcall/measured";
  const char* xdg = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  if (xdg != nullptr && *xdg == '/') return std::string(xdg) + "/farcall/measured";
  if (home != nullptr && *home == '/') return std::string(home) + "/.local/state/farcall/measured";
  return {};
}

std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id.size() <= 64 ? id : std::string();
}

}  // namespace farcall::security
