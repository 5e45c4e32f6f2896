#include "transport/cuda/image_extent.h"

#include <elf.h>

#include <algorithm>
#include <cstring>

#include "transport/base/limits.h"

namespace farcall::cuda {
namespace {

Status malformed(const char* what) { return {Code::kMalformed, what}; }

// Reads a T at `offset`, or false when it does not lie within `available`.
template <class T>
bool read(const std::byte* at, std::uint64_t available, std::uint64_t offset, T* value) {
  if (offset > available || available - offset < sizeof(T)) return false;
  std::memcpy(value, at + offset, sizeof(T));
  return true;
}

// Grows `end` to cover [offset, offset + count * size); false when that cannot be.
bool cover(std::uint64_t offset, std::uint64_t count, std::uint64_t size, std::uint64_t* end) {
  if (count == 0 || size == 0) return true;
  if (offset > limits::kModuleBytesMax || count > (limits::kModuleBytesMax - offset) / size) {
    return false;
  }
  *end = std::max(*end, offset + count * size);
  return true;
}

Result<std::uint64_t> container_extent(const std::byte* at, std::uint64_t available) {
  std::uint16_t version = 0, header = 0;
  std::uint64_t entries = 0;
  if (!read(at, available, 4, &version) || !read(at, available, 6, &header) ||
      !read(at, available, 8, &entries)) {
    return malformed("a fatbin container shorter than its header");
  }
  if (version != 1 || header != kContainerHeaderBytes) {
    return malformed("a fatbin container of an unknown version");
  }
  if (entries > limits::kModuleBytesMax - header) {
    return Status(Code::kOverQuota, "a fatbin container of more than 2 GiB");
  }
  return header + entries;
}

Result<std::uint64_t> elf_extent(const std::byte* at, std::uint64_t available) {
  Elf64_Ehdr header;
  if (!read(at, available, 0, &header)) return malformed("an ELF shorter than its header");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB) {
    return malformed("an ELF that is not 64-bit little endian");
  }
  std::uint64_t end = sizeof header;
  const bool tables = cover(header.e_shoff, header.e_shnum, header.e_shentsize, &end) &&
                      cover(header.e_phoff, header.e_phnum, header.e_phentsize, &end);
  if (!tables) return malformed("an ELF whose tables lie outside of it");
  if (end > available) return malformed("an ELF that was cut short");
  if (header.e_shnum != 0 && header.e_shentsize != sizeof(Elf64_Shdr)) {
    return malformed("an ELF with section headers of an unknown size");
  }
  for (std::uint64_t i = 0; i < header.e_shnum; ++i) {
    Elf64_Shdr section;
    if (!read(at, available, header.e_shoff + i * sizeof section, &section)) {
      return malformed("an ELF that was cut short");
    }
    if (section.sh_type == SHT_NOBITS || section.sh_type == SHT_NULL) continue;
    if (!cover(section.sh_offset, 1, section.sh_size, &end)) {
      return malformed("an ELF whose sections lie outside of it");
    }
  }
  return end;
}

Result<std::uint64_t> ptx_extent(const std::byte* at, std::uint64_t available) {
  const std::uint64_t most = std::min<std::uint64_t>(available, limits::kPtxBytesMax);
  const std::size_t length = strnlen(reinterpret_cast<const char*>(at), most);
  if (length == most) return malformed("PTX text without its final NUL");
  return length + 1;
}

}  // namespace

ImageForm form_at(const std::byte* at, std::uint64_t available) {
  std::uint32_t magic = 0;
  if (available != kUnknownLength) {
    read(at, available, 0, &magic);
  } else {
    // Text may be shorter than four bytes: look no further than the first that does not match.
    for (std::size_t i = 0; i < sizeof magic; ++i) {
      std::memcpy(reinterpret_cast<std::byte*>(&magic) + i, at + i, 1);
      if (at[i] == std::byte{0}) break;
    }
  }
  if (magic == kWrapperMagic) return ImageForm::kWrapper;
  if (magic == kContainerMagic) return ImageForm::kContainer;
  if (magic == kElfMagic) return ImageForm::kElf;
  return ImageForm::kPtx;
}

Result<std::uint64_t> image_extent(ImageForm form, const std::byte* at, std::uint64_t available) {
  Result<std::uint64_t> bytes = malformed("a wrapper inside an image");
  if (form == ImageForm::kContainer) bytes = container_extent(at, available);
  if (form == ImageForm::kElf) bytes = elf_extent(at, available);
  if (form == ImageForm::kPtx) bytes = ptx_extent(at, available);
  if (bytes.ok() && bytes.value() > available) return malformed("an image that was cut short");
  return bytes;
}

}  // namespace farcall::cuda
