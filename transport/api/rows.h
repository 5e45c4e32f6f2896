// Rows as types: row::cuMemAlloc_v2 knows its id, its When, its prototype and its words.
//
//   const RowInfo& info = row::cuMemAlloc_v2::info();     // API rows, HAND rows and pseudo rows
//   using Prototype = row::cuMemAlloc_v2::Fn;             // API rows and HAND rows
//
// Define FARCALL_FAMILY (table.inc) before the first include to have one family only, which is what
// the generated parts do to compile fast.
#pragma once
#include "transport/api/caller.h"
#include "transport/api/sizes.h"

namespace farcall::api::row {

#define FARCALL_ROW_INFO(ID, NAME, WHEN)                   \
  static const RowInfo& info() {                           \
    static constexpr RowInfo kInfo{ID, When::WHEN, #NAME}; \
    return kInfo;                                          \
  }
#define API(ID, NAME, WHEN, ...)     \
  struct NAME {                      \
    using Fn = decltype(::NAME);     \
    using W = Words<__VA_ARGS__>;    \
    FARCALL_ROW_INFO(ID, NAME, WHEN) \
  };
#define HAND(ID, NAME, WHEN)         \
  struct NAME {                      \
    using Fn = decltype(::NAME);     \
    FARCALL_ROW_INFO(ID, NAME, WHEN) \
  };
#define PSEUDO(ID, NAME, WHEN)       \
  struct NAME {                      \
    FARCALL_ROW_INFO(ID, NAME, WHEN) \
  };
#include "transport/api/table.inc"
#undef FARCALL_ROW_INFO

}  // namespace farcall::api::row
