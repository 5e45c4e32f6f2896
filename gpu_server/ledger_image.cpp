#include "gpu_server/ledger_image.h"

#include <elf.h>

#include <algorithm>
#include <cstring>

#include "gpu_server/ledger.h"
#include "gpu_server/ledger_ptx.h"
#include "transport/base/secure_arena.h"
#include "transport/cuda/image.h"

namespace farcall::server {
namespace {

std::uint64_t sum_of(std::uint64_t a, std::uint64_t b) {
  std::uint64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

std::string_view as_text(std::span<const std::byte> bytes) {
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return text.substr(0, text.find('\0'));
}

std::uint64_t code_bytes(cuda::EntryKind kind, std::span<const std::byte> bytes) {
  return kind == cuda::EntryKind::kElf ? elf_memory_bytes(bytes) : ptx_memory_bytes(as_text(bytes));
}

std::uint64_t entry_need(const cuda::FatbinEntry& entry) {
  if (entry.compression == cuda::Compression::kNone) return code_bytes(entry.kind, entry.payload);
  auto bytes = cuda::entry_bytes(entry);
  // What we cannot read the driver cannot load.
  if (!bytes.ok()) return entry.payload.size();
  const std::uint64_t need = code_bytes(entry.kind, bytes.value());
  wipe(bytes.value());
  return need;
}

// Could a device of compute capability `sm` run it?
bool fits(const cuda::FatbinEntry& entry, cuda::EntryKind kind, unsigned sm) {
  if (entry.kind != kind || entry.sm > sm) return false;
  return kind == cuda::EntryKind::kPtx || entry.sm / 10 == sm / 10;
}

std::uint64_t closest_need(const std::vector<cuda::FatbinEntry>& entries, cuda::EntryKind kind,
                           unsigned sm) {
  unsigned closest = 0;
  for (const auto& entry : entries) {
    if (fits(entry, kind, sm)) closest = std::max(closest, entry.sm);
  }
  std::uint64_t need = 0;
  for (const auto& entry : entries) {
    if (fits(entry, kind, sm) && entry.sm == closest) need = sum_of(need, entry_need(entry));
  }
  return need;
}

std::uint64_t part_need(const cuda::ImagePart& part, unsigned sm) {
  if (part.form == cuda::ImageForm::kElf) return elf_memory_bytes(part.bytes);
  if (part.form == cuda::ImageForm::kPtx) return ptx_memory_bytes(as_text(part.bytes));
  auto entries = cuda::container_entries(part.bytes);
  if (!entries.ok()) return part.bytes.size();
  return std::max(closest_need(entries.value(), cuda::EntryKind::kElf, sm),
                  closest_need(entries.value(), cuda::EntryKind::kPtx, sm));
}

}  // namespace

ImageNeed image_need(const void* image, unsigned sm, bool with_memory) {
  ImageNeed need;
  auto parts = cuda::image_parts(image);
  if (!parts.ok()) return need;  // the driver will say what is wrong with it
  for (const cuda::ImagePart& part : parts.value()) {
    need.image_bytes = sum_of(need.image_bytes, part.bytes.size());
    if (with_memory) need.memory_bytes = sum_of(need.memory_bytes, part_need(part, sm));
  }
  need.memory_bytes = charged_bytes(need.memory_bytes);
  return need;
}

std::uint64_t elf_memory_bytes(std::span<const std::byte> elf) {
  Elf64_Ehdr head;
  if (elf.size() < sizeof head) return elf.size();
  std::memcpy(&head, elf.data(), sizeof head);
  const bool is_elf = std::memcmp(head.e_ident, ELFMAG, SELFMAG) == 0 &&
                      head.e_ident[EI_CLASS] == ELFCLASS64 &&
                      head.e_shentsize == sizeof(Elf64_Shdr) && head.e_shoff < elf.size();
  if (!is_elf) return elf.size();
  const auto room = elf.subspan(static_cast<std::size_t>(head.e_shoff));
  auto section_at = [&](std::size_t index, Elf64_Shdr* section) {
    if (room.size() / sizeof *section <= index) return false;
    std::memcpy(section, room.data() + index * sizeof *section, sizeof *section);
    return true;
  };
  Elf64_Shdr section;
  std::uint64_t count = head.e_shnum;
  // More than 65279 sections: the first one says how many.
  if (count == 0 && section_at(0, &section)) count = section.sh_size;
  std::uint64_t bytes = 0;
  for (std::size_t index = 0; index < count && section_at(index, &section); ++index) {
    if ((section.sh_flags & SHF_ALLOC) != 0) bytes = sum_of(bytes, section.sh_size);
  }
  return bytes;
}

std::uint64_t ptx_memory_bytes(std::string_view text) {
  return sum_of(text.size(), ptx_variable_bytes(text));
}

}  // namespace farcall::server
