// FactStream: the records that a worker writes into its pipe, one for each image it loads.
//
//   encode_fact(fact, room);                              // worker
//
//   FactStream stream;                                    // supervisor
//   Status sound = stream.take(bytes, [&](const ModuleFact& fact) { … });
//
// A record, little endian: u32 'FACT', u8 1 (a module), u8 form, u8 1 if it was loaded, u8 1 if it
// came from this host's cache, u64 bytes, 32 bytes SHA-256, 16 zeros.
// The worker may have been taken over: what does not fit this ends its stream for good, and what
// fits is what it claims, no more.  Threads: one.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "transport/base/function_ref.h"
#include "transport/base/limits_facts.h"
#include "transport/base/status.h"

namespace farcall::server {

enum class ImageFact : std::uint8_t { kFatbin, kElf, kPtx, kUnreadable };
std::string_view name_of(ImageFact form);  // "fatbin", "elf", "ptx", "unreadable"

// An image that a client had loaded, or tried to.
struct ModuleFact {
  ImageFact form = ImageFact::kUnreadable;
  bool loaded = false;
  bool from_cache = false;
  std::uint64_t bytes = 0;
  std::array<std::byte, 32> sha256{};  // of the image as it came
  bool operator==(const ModuleFact&) const = default;
};

void encode_fact(const ModuleFact& fact, std::span<std::byte, limits::kFactBytes> room);

class FactStream {
 public:
  // The next bytes, cut anywhere.
  // Errors: kMalformed, from then on always.
  Status take(std::span<const std::byte> bytes, FunctionRef<void(const ModuleFact&)> each);

 private:
  std::array<std::byte, limits::kFactBytes> part_{};
  std::size_t held_ = 0;  // of part_
  bool is_broken_ = false;
};

}  // namespace farcall::server
