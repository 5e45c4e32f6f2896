#include "transport/api/handles.h"

#include <array>

namespace farcall::api {

const char* kind_name(Kind kind) {
  static constexpr std::array<const char*, kKinds> kNames = {"nothing",
                                                             "context",
                                                             "module",
                                                             "function",
                                                             "library",
                                                             "kernel",
                                                             "stream",
                                                             "event",
                                                             "array",
                                                             "mipmapped array",
                                                             "memory pool",
                                                             "graph",
                                                             "graph node",
                                                             "graph exec",
                                                             "link state",
                                                             "green context",
                                                             "resource description",
                                                             "texture reference",
                                                             "surface reference",
                                                             "user object"};
  auto index = static_cast<std::size_t>(kind);
  return index < kNames.size() ? kNames[index] : "unknown";
}

}  // namespace farcall::api
