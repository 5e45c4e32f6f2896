// What happens on this machine to memory that a worker could not overwrite itself: one that is
// killed or crashes, pages that are swapped out, and keys.
//
//   print_memory();                       // lines of farcall-server --check
//
// Threads: any.
#pragma once
#include <string_view>

namespace farcall::server {

// Whether the kernel overwrites pages as they are given back.
//   command_line  /proc/cmdline: init_on_free=0 or 1, the last one holds
//   config        the kernel's configuration, for what holds without the word; may be empty
bool clears_freed_pages(std::string_view command_line, std::string_view config);

// To standard output: what holds, or what its absence means and what to do.
void print_memory();

}  // namespace farcall::server
