// Images of the own process: which form, which parts.
#include "transport/cuda/image.h"

#include <cstring>

#include "transport/base/limits.h"
#include "transport/cuda/image_extent.h"

namespace farcall::cuda {
namespace {

struct WrapperFields {
  std::uint32_t magic, version;
  const void* data;
  const void* const* prelinked;  // version 2; version 1 has a file name or null here
};

Result<ImagePart> part_at(const void* image) {
  const auto* at = static_cast<const std::byte*>(image);
  ImagePart part;
  part.form = form_at(at, kUnknownLength);
  Result<std::uint64_t> bytes = image_extent(part.form, at, kUnknownLength);
  if (!bytes.ok()) return bytes.status();
  part.bytes = {at, static_cast<std::size_t>(bytes.value())};
  return part;
}

Result<std::vector<ImagePart>> wrapper_parts(const void* image) {
  WrapperFields wrapper;
  std::memcpy(&wrapper, image, sizeof wrapper);
  if (wrapper.version != 1 && wrapper.version != 2) {
    return Status(Code::kMalformed,
                  "a fatbin wrapper of version " + std::to_string(wrapper.version));
  }
  if (wrapper.data == nullptr) return Status(Code::kMalformed, "a fatbin wrapper without data");
  std::vector<const void*> addresses = {wrapper.data};
  if (wrapper.version == 2 && wrapper.prelinked != nullptr) {
    for (const void* const* next = wrapper.prelinked; *next != nullptr; ++next) {
      if (addresses.size() == limits::kImagePartsMax) {
        return Status(Code::kOverQuota, "a fatbin wrapper with more than 4096 parts");
      }
      addresses.push_back(*next);
    }
  }
  std::vector<ImagePart> parts;
  for (const void* address : addresses) {
    Result<ImagePart> part = part_at(address);
    if (!part.ok()) return part.status();
    parts.push_back(part.value());
  }
  return parts;
}

}  // namespace

Result<ImageForm> image_form(const void* image) {
  if (image == nullptr) return Status(Code::kMalformed, "no image");
  return form_at(static_cast<const std::byte*>(image), kUnknownLength);
}

Result<std::vector<ImagePart>> image_parts(const void* image) {
  Result<ImageForm> form = image_form(image);
  if (!form.ok()) return form.status();
  if (form.value() == ImageForm::kWrapper) return wrapper_parts(image);
  Result<ImagePart> part = part_at(image);
  if (!part.ok()) return part.status();
  return std::vector<ImagePart>{part.value()};
}

}  // namespace farcall::cuda
