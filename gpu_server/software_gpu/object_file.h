// What lies in object files: sections of an ELF, members of an archive.
//
//   for (std::span<const std::byte> text : elf_sections(cubin, ".nv_debug_ptx_txt")) …
//   for (std::span<const std::byte> member : archive_members(library)) …
//
// PTX hides in both: machine code that was compiled with -lineinfo carries the PTX it was made of,
// and libraries of device code are archives of host objects with fatbins in them.
// Input is hostile: everything is bounded, and what does not fit is as if it were not there.
// Owner: spans borrow from the input.  Threads: any.
// Source: System V ABI, "Object Files"; ar(5).
#pragma once
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace farcall::softgpu {

// The contents of every section of that name, in order; none for what is no 64-bit ELF.
std::vector<std::span<const std::byte>> elf_sections(std::span<const std::byte> elf,
                                                     std::string_view name);

bool is_archive(std::span<const std::byte> bytes);
// The files in an archive, in order, without its tables of symbols and long names.
std::vector<std::span<const std::byte>> archive_members(std::span<const std::byte> archive);

}  // namespace farcall::softgpu
