// How an image crosses the wire. The format is described in image.h.
#include <algorithm>
#include <cstring>

#include "transport/base/limits.h"
#include "transport/cuda/image.h"
#include "transport/cuda/image_extent.h"

namespace farcall::cuda {
namespace {

enum class PackedKind : std::uint32_t { kBare = 0, kWrapper1 = 1, kWrapper2 = 2 };

constexpr std::uint64_t kHeadBytes = 8;  // count, kind; then 8 for each part's length

std::uint64_t padded(std::uint64_t bytes) { return (bytes + 7) / 8 * 8; }

Status malformed(const char* what) { return {Code::kMalformed, what}; }

template <class T>
T load(std::span<const std::byte> from, std::size_t at) {
  T value;
  std::memcpy(&value, from.data() + at, sizeof value);
  return value;
}

PackedKind kind_of(const void* image) {
  if (form_at(static_cast<const std::byte*>(image), kUnknownLength) != ImageForm::kWrapper) {
    return PackedKind::kBare;
  }
  std::uint32_t version = 0;
  std::memcpy(&version, static_cast<const std::byte*>(image) + 4, sizeof version);
  return version == 1 ? PackedKind::kWrapper1 : PackedKind::kWrapper2;
}

// Cuts the parts out of a packed image and checks that each is exactly what its length says.
Result<std::vector<ImagePart>> cut(std::span<const std::byte> packed, std::uint32_t count) {
  std::vector<ImagePart> parts;
  std::uint64_t at = kHeadBytes + std::uint64_t{count} * 8;
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto bytes = load<std::uint64_t>(packed, kHeadBytes + std::size_t{i} * 8);
    if (bytes > packed.size() || padded(bytes) > packed.size() - at) {
      return malformed("a packed image shorter than its parts");
    }
    ImagePart part;
    part.bytes = packed.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(bytes));
    part.form = form_at(part.bytes.data(), bytes);
    Result<std::uint64_t> extent = image_extent(part.form, part.bytes.data(), bytes);
    if (!extent.ok()) return extent.status();
    if (extent.value() != bytes) return malformed("a packed image with bytes behind a part");
    if (part.form == ImageForm::kContainer) {
      FARCALL_TRY(container_entries(part.bytes).status());
    }
    parts.push_back(part);
    at += padded(bytes);
  }
  if (at != packed.size()) return malformed("a packed image with bytes behind its parts");
  return parts;
}

}  // namespace

void PackedImage::read(std::uint64_t at, std::span<std::byte> out) const {
  // Walks head, then each part and its padding, and copies what overlaps.
  std::uint64_t begin = 0;
  const auto copy = [&](std::span<const std::byte> piece, std::uint64_t length) {
    const std::uint64_t from = std::max(begin, at);
    const std::uint64_t to = std::min(begin + length, at + out.size());
    if (from < to) {
      std::byte* into = out.data() + (from - at);
      const std::uint64_t skip = from - begin;
      const std::uint64_t real =
          skip < piece.size() ? std::min<std::uint64_t>(piece.size() - skip, to - from) : 0;
      if (real > 0) std::memcpy(into, piece.data() + skip, real);
      std::memset(into + real, 0, to - from - real);
    }
    begin += length;
  };
  copy(head, head.size());
  for (const ImagePart& part : parts) copy(part.bytes, padded(part.bytes.size()));
}

Result<PackedImage> pack_pieces(const void* image) {
  Result<std::vector<ImagePart>> parts = image_parts(image);
  if (!parts.ok()) return parts.status();
  PackedImage packed;
  packed.parts = std::move(parts).value();
  packed.head.resize(kHeadBytes + packed.parts.size() * 8);
  const std::uint32_t lead[2] = {static_cast<std::uint32_t>(packed.parts.size()),
                                 static_cast<std::uint32_t>(kind_of(image))};
  std::memcpy(packed.head.data(), lead, sizeof lead);
  packed.bytes = packed.head.size();
  for (std::size_t i = 0; i < packed.parts.size(); ++i) {
    const std::uint64_t bytes = packed.parts[i].bytes.size();
    std::memcpy(packed.head.data() + kHeadBytes + i * 8, &bytes, sizeof bytes);
    packed.bytes += padded(bytes);
  }
  if (packed.bytes > limits::kModuleBytesMax) {
    return Status(Code::kOverQuota, "an image of more than 2 GiB");
  }
  return packed;
}

Result<std::vector<std::byte>> pack_image(const void* image) {
  Result<PackedImage> pieces = pack_pieces(image);
  if (!pieces.ok()) return pieces.status();
  std::vector<std::byte> packed(static_cast<std::size_t>(pieces->bytes));
  pieces->read(0, packed);
  return packed;
}

Result<UnpackedImage> unpack_image(SecureBuffer packed) {
  const std::span<const std::byte> bytes = packed.bytes();
  if (bytes.size() < kHeadBytes) return malformed("a packed image shorter than its head");
  const auto count = load<std::uint32_t>(bytes, 0);
  const auto kind = static_cast<PackedKind>(load<std::uint32_t>(bytes, 4));
  if (kind > PackedKind::kWrapper2) return malformed("a packed image of an unknown kind");
  if (count == 0 || count > limits::kImagePartsMax || bytes.size() < kHeadBytes + count * 8 ||
      (kind != PackedKind::kWrapper2 && count != 1)) {
    return malformed("a packed image with a wrong number of parts");
  }
  Result<std::vector<ImagePart>> parts = cut(bytes, count);
  if (!parts.ok()) return parts.status();
  UnpackedImage image;
  image.packed_ = std::move(packed);  // its memory stays where it is
  image.parts_ = std::move(parts).value();
  image.image_ = image.parts_[0].bytes.data();
  if (kind == PackedKind::kBare) return image;
  const void* prelinked = nullptr;
  if (kind == PackedKind::kWrapper2) {
    for (const ImagePart& part : image.parts_) image.prelinked_.push_back(part.bytes.data());
    image.prelinked_.push_back(nullptr);
    prelinked = image.prelinked_.data() + 1;  // the first part is `data`
  }
  image.wrapper_ = std::make_unique<UnpackedImage::Wrapper>(UnpackedImage::Wrapper{
      kWrapperMagic, static_cast<std::uint32_t>(kind), image.image_, prelinked});
  image.image_ = image.wrapper_.get();
  return image;
}

Result<UnpackedImage> unpack_image(std::vector<std::byte> packed) {
  if (packed.empty()) return malformed("a packed image shorter than its head");
  Result<SecureBuffer> buffer = SecureBuffer::make(packed.size());
  if (!buffer.ok()) return buffer.status();
  std::memcpy(buffer->data(), packed.data(), packed.size());
  wipe(packed);
  return unpack_image(std::move(buffer).value());
}

}  // namespace farcall::cuda
