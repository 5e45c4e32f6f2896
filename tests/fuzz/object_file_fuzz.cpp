// How it works: the input is a file that a client asks to link: an ELF object or an archive of
// them. Whatever its headers say, the parts that come out lie inside it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "gpu_server/software_gpu/object_file.h"

using namespace farcall;

namespace {

void inside(std::span<const std::byte> part, std::span<const std::byte> whole) {
  if (part.empty()) return;
  const bool holds =
      part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size();
  if (!holds) std::abort();
}

void sections(std::span<const std::byte> elf) {
  for (const char* name : {".nv_debug_ptx_txt", ".nv_fatbin", ""}) {
    for (auto section : softgpu::elf_sections(elf, name)) inside(section, elf);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  sections(bytes);
  if (!softgpu::is_archive(bytes)) return 0;
  for (auto member : softgpu::archive_members(bytes)) {
    inside(member, bytes);
    sections(member);
  }
  return 0;
}
