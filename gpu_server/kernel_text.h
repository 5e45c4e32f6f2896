// What a file of the kernel's says, /proc and /sys and those beside it; empty where it cannot be
// read.
//
//   if (kernel_text("/proc/swaps").empty()) …
//
// Such files tell no length beforehand, so they are read to their end.  Threads: any.
#pragma once
#include <fstream>
#include <iterator>
#include <string>

namespace farcall::server {

inline std::string kernel_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace farcall::server
