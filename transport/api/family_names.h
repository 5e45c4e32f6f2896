// What the families of the table are called: the files of families/, by the number that is the high
// byte of their rows, and that a lease grants.
//
//   name_of_family(0x0a)          // "launch"
//   family_named("graph")         // 0x0f
//
// Threads: any.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace farcall::api {

inline constexpr std::array<std::string_view, 17> kFamilyNames = {
    "session", "device", "context",        "module", "library",   "memory",
    "memcpy",  "memset", "stream",         "event",  "launch",    "occupancy",
    "pool",    "array",  "virtual_memory", "graph",  "tensor_map"};

// "unknown" for a number that no family has.
constexpr std::string_view name_of_family(std::uint8_t family) {
  return family < kFamilyNames.size() ? kFamilyNames[family] : "unknown";
}

constexpr std::optional<std::uint8_t> family_named(std::string_view name) {
  for (std::size_t i = 0; i < kFamilyNames.size(); ++i) {
    if (kFamilyNames[i] == name) return static_cast<std::uint8_t>(i);
  }
  return std::nullopt;
}

}  // namespace farcall::api
