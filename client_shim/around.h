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
#include "client_shim/several_copy.h"
#include "transport/api/client_call.h"

// What exports.inc makes every exported function call.
#define FARCALL_AROUND(F) ::farcall::shim::RoutedRow<&::F, ::farcall::api::row::F>::call

namespace farcall::shim {

template <class Row>
struct Around {
  template <class... A>
  static CUresult call(A... arguments) {
    return api::call<Row>(arguments...);
  }
};

// The same with a signature of its own.
template <class Row, class Function>
struct AroundAs;
template <class Row, class... A>
struct AroundAs<Row, CUresult(A...)> {
  static CUresult call(A... arguments) { return Around<Row>::call(arguments...); }
};

// Which parameter of a row is a device number; -1: none.
template <class... W>
constexpr int device_among(api::Words<W...>) {
  int at = 0;
  int found = -1;
  ((found = found < 0 && std::is_same_v<W, api::InDevice> ? at : found, ++at), ...);
  return found;
}
template <auto kFunction, class Row>
struct RoutedRow
    : Routed<kFunction, &AroundAs<Row, typename Row::Fn>::call, device_among(typename Row::W{})> {};

}  // namespace farcall::shim
