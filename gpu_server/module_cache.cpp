#include "gpu_server/module_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "gpu_server/cache_folder.h"
#include "security/crypto.h"
#include "transport/base/log.h"

namespace farcall::server {
namespace {

using Head = ModuleCache::Head;
static_assert(sizeof(Head) == 48);
constexpr std::uint32_t kMagic = 0x314d4346;  // "FCM1"
constexpr std::size_t kTag = limits::kRecordTagBytes;

std::span<const std::byte> bytes_of(const Head& head) { return std::as_bytes(std::span(&head, 1)); }

std::uint64_t file_bytes(std::uint64_t image_bytes) {
  std::uint64_t pieces = (image_bytes + ModuleCache::kPieceBytes - 1) / ModuleCache::kPieceBytes;
  return sizeof(Head) + image_bytes + pieces * kTag;
}

std::array<std::byte, 12> nonce_of(std::uint64_t piece) {
  std::array<std::byte, 12> nonce{};
  std::memcpy(nonce.data() + 4, &piece, sizeof piece);
  return nonce;
}

Result<std::unique_ptr<link::Aead>> aead_of(const ModuleCache::Name& name, const Head& head,
                                            link::Aead::Use use) {
  std::string info = "module file";
  info.append(reinterpret_cast<const char*>(&head), sizeof head);
  std::array<std::byte, 32> key;
  FARCALL_TRY(security::hkdf_expand(name.key, info, key));
  auto aead = link::make_aead(link::chosen_engine(), key, use);
  wipe(key);
  return aead;
}

bool read_all(int file, std::span<std::byte> room) {
  while (!room.empty()) {
    ssize_t now = ::read(file, room.data(), room.size());
    if (now < 0 && errno == EINTR) continue;
    if (now <= 0) return false;
    room = room.subspan(static_cast<std::size_t>(now));
  }
  return true;
}

Status write_all(int file, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    ssize_t now = ::write(file, bytes.data(), bytes.size());
    if (now < 0 && errno == EINTR) continue;
    if (now < 0) return Status::system("write to the module cache");
    bytes = bytes.subspan(static_cast<std::size_t>(now));
  }
  return ok();
}

Status no_such_image() { return {Code::kNotFound, "no such image in the module cache"}; }

// The whole image, or kNotFound for a file that is not what was put there.
Result<SecureBuffer> open_image(int file, const ModuleCache::Name& name) {
  Head head{};
  if (!read_all(file, std::as_writable_bytes(std::span(&head, 1)))) return no_such_image();
  if (head.magic != kMagic || head.zero != 0 || head.bytes != name.bytes) return no_such_image();
  auto aead = aead_of(name, head, link::Aead::Use::kOpen);
  if (!aead.ok()) return aead.status();
  auto image = SecureBuffer::make(static_cast<std::size_t>(name.bytes));
  if (!image.ok()) return image.status();
  auto sealed = std::make_unique<std::byte[]>(ModuleCache::kPieceBytes + kTag);
  std::span<std::byte> room = image->bytes();
  for (std::uint64_t piece = 0; !room.empty(); ++piece) {
    std::size_t bytes = std::min(room.size(), ModuleCache::kPieceBytes);
    std::span<std::byte> from(sealed.get(), bytes + kTag);
    if (!read_all(file, from)) return no_such_image();
    // On a wrong tag the buffer, and with it what must not be believed, is wiped as it goes.
    if (!aead.value()->open(nonce_of(piece), bytes_of(head), from, room.first(bytes)))
      return no_such_image();
    room = room.subspan(bytes);
  }
  return image;
}

}  // namespace

Result<SecureBuffer> ModuleCache::find(const Name& name) {
  if (name.bytes == 0 || name.bytes > limits::kModuleBytesMax) return no_such_image();
  std::string path = security::to_hex(name.id);
  Fd file(::openat(folder_.get(), path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat facts {};
  if (!file || ::fstat(file.get(), &facts) != 0 || !S_ISREG(facts.st_mode)) return no_such_image();
  Result<SecureBuffer> image = no_such_image();
  if (static_cast<std::uint64_t>(facts.st_size) == file_bytes(name.bytes)) {
    image = open_image(file.get(), name);
  }
  if (image.ok()) {
    (void)::futimens(file.get(), nullptr);  // used now: the last to go
  } else if (image.status().code() == Code::kNotFound) {
    FARCALL_LOG_INFO("a file of the module cache does not open; it is removed");
    (void)::unlinkat(folder_.get(), path.c_str(), 0);
  }
  return image;
}

std::unique_ptr<ModuleCache::Writer> ModuleCache::begin(const Name& name) {
  if (name.bytes == 0 || name.bytes > limits::kModuleBytesMax) return nullptr;
  if (!make_room(folder_.get(), bytes_max_, file_bytes(name.bytes)).ok()) return nullptr;
  std::unique_ptr<Writer> writer(new Writer);
  std::array<std::byte, 16> random;
  security::fill_random(random);
  writer->folder_ = folder_.get();
  writer->final_ = security::to_hex(name.id);
  writer->temporary_ = "new-" + security::to_hex(random);
  writer->left_ = name.bytes;
  writer->head_ = {kMagic, 0, name.bytes, {}};
  security::fill_random(writer->head_.salt);
  auto aead = aead_of(name, writer->head_, link::Aead::Use::kSeal);
  auto piece = SecureBuffer::make(kPieceBytes);
  if (!aead.ok() || !piece.ok()) return nullptr;
  writer->aead_ = std::move(aead).value();
  writer->piece_ = std::move(piece).value();
  writer->sealed_ = std::make_unique<std::byte[]>(kPieceBytes + kTag);
  writer->file_ = Fd(::openat(folder_.get(), writer->temporary_.c_str(),
                              O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!writer->file_) {
    FARCALL_LOG_INFO("an image is not kept: %s", Status::system("make a file").to_string().c_str());
    return nullptr;
  }
  writer->failed_ = write_all(writer->file_.get(), bytes_of(writer->head_));
  return writer;
}

ModuleCache::Writer::~Writer() {
  if (file_ && !temporary_.empty()) (void)::unlinkat(folder_, temporary_.c_str(), 0);
}

Status ModuleCache::Writer::seal(std::span<const std::byte> text) {
  std::span<std::byte> sealed(sealed_.get(), text.size() + kTag);
  if (!aead_->seal(nonce_of(pieces_++), bytes_of(head_), text, sealed)) {
    return {Code::kSystem, "a piece of an image could not be sealed"};
  }
  return write_all(file_.get(), sealed);
}

void ModuleCache::Writer::add(std::span<const std::byte> text) {
  if (text.size() > left_) failed_ = {Code::kMalformed, "an image is longer than announced"};
  while (failed_.ok() && !text.empty()) {
    std::size_t bytes = std::min(text.size(), kPieceBytes - piece_used_);
    std::memcpy(piece_.data() + piece_used_, text.data(), bytes);
    piece_used_ += bytes;
    left_ -= bytes;
    text = text.subspan(bytes);
    if (piece_used_ < kPieceBytes && left_ > 0) continue;
    failed_ = seal(piece_.bytes().first(piece_used_));
    piece_used_ = 0;
  }
}

Status ModuleCache::Writer::keep() {
  FARCALL_TRY(failed_);
  if (left_ > 0) return {Code::kMalformed, "an image is shorter than announced"};
  if (::renameat(folder_, temporary_.c_str(), folder_, final_.c_str()) != 0) {
    return Status::system("keep an image");
  }
  temporary_.clear();
  return ok();
}

}  // namespace farcall::server
