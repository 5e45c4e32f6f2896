// SHA-256 of bytes that lie in memory in one piece.
//
//   std::array<std::byte, 32> digest = sha256(image);
//
// Threads: any.  Keeps nothing of what it read.
#pragma once
#include <array>
#include <cstddef>
#include <span>

namespace farcall::security {

// Zeros where OpenSSL has no memory left.
std::array<std::byte, 32> sha256(std::span<const std::byte> bytes);

}  // namespace farcall::security
