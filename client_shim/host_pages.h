// Host pages: where page-locked memory lies in this process, and what the kernel says of pages.
//
//   void* at = take_host_pages(bytes);      // whole pages; null: none to be had
//   give_back_host_pages(at, bytes);
//
// A kernel may be given page-locked memory by its address, so it lies where a device can have
// memory, too: at whole steps of the device's own memory management, each alone in its steps, in a
// range of addresses where neither the C library, a sanitizer, NVIDIA's driver nor the software GPU
// puts anything. Where that is not to be had, anywhere. Until a kernel is given it, it is ordinary
// memory of this process.
// Alone in its steps a block costs a mapping and a page of page tables, of which Linux allows a
// process 65,530; so of small blocks only the first kSmallBlocksMax that are out at a time lie so,
// and what comes after them shares mappings: a kernel finds those by their device address only.
// Threads: any.
#pragma once
#include <cstddef>
#include <cstdint>

namespace farcall::shim {

inline constexpr std::size_t kSmallBlockBytes = std::size_t{1} << 20;
inline constexpr std::size_t kSmallBlocksMax = 4096;

void* take_host_pages(std::size_t bytes);
void give_back_host_pages(void* at, std::size_t bytes);
// They are unmapped already.
void forget_host_pages(const void* at, std::size_t bytes);

// Whether the kernel lets the program touch this byte. Reads /proc/self/maps.
bool may_touch(std::uint64_t address, bool is_write);
// Whether all of these pages are private memory of this process, of no file and not its stack, to
// be read and written. Reads /proc/self/maps.
bool is_plain_memory(std::uint64_t address, std::size_t bytes);

}  // namespace farcall::shim
