// How an image crosses the wire. The format is described in image.h.
#include <algorithm>
#include <cstring>

#include "transport/base/limits.h"
#include "transport/cuda/image.h"
#include "transport/cuda/image_extent.h"
#include "transport/cuda/image_trim.h"

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

void PackedImage::add(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  // Entries that stand together in the image travel as one piece.
  if (!pieces_.empty()) {
    Piece& last = pieces_.back();
    if (last.bytes.data() + last.bytes.size() == bytes.data() &&
        last.at + last.bytes.size() == bytes_) {
      last.bytes = {last.bytes.data(), last.bytes.size() + bytes.size()};
      bytes_ += bytes.size();
      return;
    }
  }
  pieces_.push_back({bytes_, bytes});
  bytes_ += bytes.size();
}

void PackedImage::pad() { bytes_ = padded(bytes_); }

std::span<std::byte> PackedImage::add_own(std::size_t bytes) {
  own_.push_back(std::make_unique<std::byte[]>(bytes));
  const std::span<std::byte> made(own_.back().get(), bytes);
  add(made);
  return made;
}

// Returns how many bytes the part has now.
std::uint64_t PackedImage::add_part(const ImagePart& part, std::span<const std::uint32_t> sms,
                                    TrimRule rule) {
  const std::uint64_t begin = bytes_;
  Result<std::vector<FatbinEntry>> entries = std::vector<FatbinEntry>();
  if (part.form == ImageForm::kContainer && !sms.empty()) entries = container_entries(part.bytes);
  // What we cannot read the driver may: it goes as it is.
  const bool is_whole = !entries.ok() || entries->empty();
  if (is_whole) {
    add(part.bytes);
    return bytes_ - begin;
  }
  const std::vector<char> used = usable_entries(entries.value(), sms, rule);
  const std::span<std::byte> head = add_own(kContainerHeaderBytes);
  std::memcpy(head.data(), part.bytes.data(), kContainerHeaderBytes);
  for (std::size_t i = 0; i < used.size(); ++i) {
    if (used[i] != 0) add(entries.value()[i].stored);
  }
  const std::uint64_t now = bytes_ - begin;
  const std::uint64_t entry_bytes = now - kContainerHeaderBytes;
  std::memcpy(head.data() + 8, &entry_bytes, sizeof entry_bytes);
  left_out_ += part.bytes.size() - now;
  return now;
}

void PackedImage::read(std::uint64_t at, std::span<std::byte> out) const {
  auto piece = std::upper_bound(pieces_.begin(), pieces_.end(), at,
                                [](std::uint64_t place, const Piece& p) { return place < p.at; });
  if (piece != pieces_.begin()) --piece;
  while (!out.empty()) {
    const std::uint64_t skip = at - piece->at;
    const std::uint64_t end = piece + 1 == pieces_.end() ? bytes_ : (piece + 1)->at;
    const auto room = static_cast<std::size_t>(std::min<std::uint64_t>(end - at, out.size()));
    const std::size_t real =
        skip < piece->bytes.size() ? std::min(room, piece->bytes.size() - skip) : 0;
    if (real > 0) std::memcpy(out.data(), piece->bytes.data() + skip, real);
    std::memset(out.data() + real, 0, room - real);
    out = out.subspan(room);
    at += room;
    ++piece;
  }
}

Result<PackedImage> pack_pieces(const void* image, std::span<const std::uint32_t> sms) {
  Result<std::vector<ImagePart>> parts = image_parts(image);
  if (!parts.ok()) return parts.status();
  PackedImage packed;
  const std::span<std::byte> head = packed.add_own(kHeadBytes + parts->size() * 8);
  const PackedKind kind = kind_of(image);
  const std::uint32_t lead[2] = {static_cast<std::uint32_t>(parts->size()),
                                 static_cast<std::uint32_t>(kind)};
  std::memcpy(head.data(), lead, sizeof lead);
  const TrimRule rule = kind == PackedKind::kWrapper2 ? TrimRule::kLinked : TrimRule::kOneIsChosen;
  for (std::size_t i = 0; i < parts->size(); ++i) {
    const std::uint64_t bytes = packed.add_part(parts.value()[i], sms, rule);
    std::memcpy(head.data() + kHeadBytes + i * 8, &bytes, sizeof bytes);
    packed.pad();
  }
  if (packed.bytes() > limits::kModuleBytesMax) {
    return Status(Code::kOverQuota, "an image of more than 2 GiB");
  }
  return packed;
}

Result<std::vector<std::byte>> pack_image(const void* image, std::span<const std::uint32_t> sms) {
  Result<PackedImage> pieces = pack_pieces(image, sms);
  if (!pieces.ok()) return pieces.status();
  std::vector<std::byte> packed(static_cast<std::size_t>(pieces->bytes()));
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
