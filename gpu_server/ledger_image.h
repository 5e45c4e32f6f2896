// How much loading an image takes, read out of the image: nobody else tells before it is loaded.
//
//   ImageNeed need = image_need(image, 90, true);
//   need.memory_bytes                             // of the device: code, and variables of any size
//   ptx_memory_bytes(".global .b8 big[1073741824];") == 1 GiB, and the text's own length
//
// A text of a hundred bytes can declare a variable as large as a GPU. A driver picks among the
// entries of a container by rules of its own, so the ELF entries of the closest architecture are
// added up, and the PTX entries likewise, and the larger of both counts.
// Owner: nothing.  Threads: any. The functions that take a span or a text are for hostile bytes:
// bounded, never crash. Reads no more of an entry than where its sizes stand, but has to decompress
// it for that.
// Source: PTX ISA 9.0, sections 4 and 5 (state spaces, declarations); ELF-64.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace farcall::server {

struct ImageNeed {
  std::uint64_t memory_bytes = 0;  // of the device, at most
  std::uint64_t image_bytes = 0;   // of the host: what the image is long
};
// image        as cuModuleLoadData takes it; trusted to be as long as its headers say
// sm           of the device, 90 for compute capability 9.0
// with_memory  false: leave memory_bytes 0, which costs next to nothing
ImageNeed image_need(const void* image, unsigned sm, bool with_memory);

// Sections of an ELF that lie in memory. What is no ELF takes as much as it is long.
std::uint64_t elf_memory_bytes(std::span<const std::byte> elf);
// Variables in .global and .const of a PTX text, and the text's length for its code. UINT64_MAX
// when a length is not written as a number.
std::uint64_t ptx_memory_bytes(std::string_view text);

}  // namespace farcall::server
