// ArraySizes: how large the arrays are that copies name, so that a copy which does not fit is known
// before any of this process's memory is read for it.
//
//   if (auto known = sizes.find(id)) …
//   sizes.keep(id, {row_bytes, rows, slices});
//
// Filled by asking the server once for each array; an id never means another array later.
// Owner: one per client.  Threads: any.  Never talks to the server.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>

#include "transport/base/guarded.h"

namespace farcall::shim {

// Arrays remembered: some 200 KiB.
inline constexpr std::size_t kArraySizesMax = 4096;

struct ArraySize {
  std::uint64_t row_bytes = 0;
  std::uint64_t rows = 1;
  std::uint64_t slices = 1;
};

class ArraySizes {
 public:
  std::optional<ArraySize> find(std::uint64_t id) {
    auto sizes = sizes_.lock();
    auto at = sizes->find(id);
    return at == sizes->end() ? std::nullopt : std::optional(at->second);
  }
  // At kArraySizesMax all are forgotten: to ask again costs one round trip each.
  void keep(std::uint64_t id, ArraySize size) {
    auto sizes = sizes_.lock();
    if (sizes->size() >= kArraySizesMax) sizes->clear();
    sizes->emplace(id, size);
  }

 private:
  Guarded<std::unordered_map<std::uint64_t, ArraySize>> sizes_;
};

}  // namespace farcall::shim
