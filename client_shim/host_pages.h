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
// Threads: any.
#pragma once
#include <cstddef>
#include <cstdint>

namespace farcall::shim {

void* take_host_pages(std::size_t bytes);
void give_back_host_pages(void* at, std::size_t bytes);

// Whether the kernel lets the program touch this byte. Reads /proc/self/maps.
bool may_touch(std::uint64_t address, bool is_write);
// Whether all of these pages are private memory of this process, of no file and not its stack, to
// be read and written. Reads /proc/self/maps.
bool is_plain_memory(std::uint64_t address, std::size_t bytes);

}  // namespace farcall::shim
