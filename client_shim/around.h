// Around<Row>: what an exported function of a generated row calls. By default the call itself; an
// exports_<family>.cpp specialises it for rows whose success the client must remember.
//
//   template <>
//   struct Around<row::cuMemAlloc_v2> {
//     static CUresult call(CUdeviceptr* address, std::size_t bytes) { … }
//   };
//
// Threads: any.
#pragma once
#include "client_shim/entry.h"
#include "transport/api/client_call.h"

// What exports.inc makes every exported function call.
#define FARCALL_AROUND(F) ::farcall::shim::Around<::farcall::api::row::F>::call

namespace farcall::shim {

template <class Row>
struct Around {
  template <class... A>
  static CUresult call(A... arguments) {
    return api::call<Row>(arguments...);
  }
};

}  // namespace farcall::shim
