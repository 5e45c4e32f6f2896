#include "client_shim/image_names.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "security/crypto.h"
#include "security/hmac.h"
#include "transport/base/limits.h"
#include "transport/base/log.h"
#include "transport/base/switches.h"
#include "transport/base/unique.h"

namespace farcall::shim {
namespace {

using api::hand::ImageName;
using security::Hmac;

constexpr std::size_t kSecretBytes = 32;
constexpr std::size_t kPieceBytes = std::size_t{256} << 10;  // fits a core's cache
constexpr std::size_t kKeyFileBytesMax = 64 * 1024;

// "shm://gpu1.lab:7717" → "gpu1.lab": the same server over any carrier and port.
std::string server_of(const Settings& settings) {
  if (!settings.server_name.empty()) return settings.server_name;
  std::string name = settings.server;
  if (std::size_t scheme = name.find("://"); scheme != std::string::npos) {
    name.erase(0, scheme + 3);
  }
  return name.substr(0, name.rfind(':'));
}

Result<std::size_t> read_file(const std::string& path, std::span<std::byte> room) {
  Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return Status::system("open " + path);
  std::size_t have = 0;
  while (have < room.size()) {
    ssize_t now = ::read(file.get(), room.data() + have, room.size() - have);
    if (now < 0 && errno == EINTR) continue;
    if (now < 0) return Status::system("read " + path);
    if (now == 0) return have;
    have += static_cast<std::size_t>(now);
  }
  return Status(Code::kOverQuota, path + " is no private key");
}

}  // namespace

Status ImageNames::load(Secrets& secrets, const Settings& settings) {
  constexpr std::string_view kSalt = "EXPERIMENTAL-farcall module cache v1";
  if (settings.key.empty()) return {Code::kUnsupported, "no private key to name images by"};
  auto file = SecureBuffer::make(kKeyFileBytesMax);
  auto root = SecureBuffer::make(Hmac::kBytes);
  auto made = SecureBuffer::make(2 * kSecretBytes);
  for (const Status& each : {file.status(), root.status(), made.status()}) FARCALL_TRY(each);
  Result<std::size_t> bytes = read_file(settings.key, file->bytes());
  if (!bytes.ok()) return bytes.status();
  Result<Hmac> extract = Hmac::make(std::as_bytes(std::span(kSalt)));
  if (!extract.ok()) return extract.status();
  extract->add(file->bytes().first(bytes.value()));
  FARCALL_TRY(extract->finish(root->bytes().first<Hmac::kBytes>()));
  FARCALL_TRY(
      security::hkdf_expand(root->bytes(), "images of " + server_of(settings), made->bytes()));
  secrets.text = std::move(made).value();
  return ok();
}

Result<ImageName> ImageNames::of(const cuda::PackedImage& image, const Settings& settings) {
  if (!is_on(Switch::kModuleCache) || given_up_.load(std::memory_order_relaxed) ||
      image.bytes() < limits::kCachedImageBytesMin) {
    return Status(Code::kUnsupported, "not named");
  }
  std::array<std::byte, 2 * kSecretBytes> secret;
  {
    auto secrets = secrets_.lock();
    if (!secrets->failed) {
      secrets->failed = load(*secrets, settings);
      if (secrets->failed->code() == Code::kSystem) {
        FARCALL_LOG_WARN("images are not cached: %s", secrets->failed->to_string().c_str());
      }
    }
    if (!secrets->failed->ok()) return *secrets->failed;
    std::memcpy(secret.data(), secrets->text.data(), secret.size());
  }
  ImageName name{};
  name.bytes = image.bytes();
  Status named = [&]() -> Status {
    auto piece = SecureBuffer::make(kPieceBytes);
    if (!piece.ok()) return piece.status();
    Result<Hmac> mac = Hmac::make(std::span(secret).first(kSecretBytes));
    if (!mac.ok()) return mac.status();
    for (std::uint64_t at = 0; at < image.bytes();) {
      auto bytes = std::min<std::uint64_t>(kPieceBytes, image.bytes() - at);
      auto room = piece->bytes().first(static_cast<std::size_t>(bytes));
      image.read(at, room);
      mac->add(room);
      at += bytes;
    }
    FARCALL_TRY(mac->finish(name.id));
    std::string_view id(reinterpret_cast<const char*>(name.id.data()), name.id.size());
    return security::hkdf_expand(std::span(secret).last(kSecretBytes), id, name.key);
  }();
  wipe(secret);
  if (!named.ok()) return named;
  return name;
}

}  // namespace farcall::shim
