// load_id<T>: the driver object behind an id that came inside a struct.
//
//   auto copy = call.in.get<hand::CopyToDevice>();
//   auto stream = load_id<CUstream>(load, copy.stream);
//
// The same rules as for an id in a row of its own (transport/api/load.h).  Threads: one.
#pragma once
#include "transport/api/load.h"

namespace farcall::server {

template <class T>
T load_id(api::Load& load, std::uint64_t id) {
  wire::Reader one(std::as_bytes(std::span(&id, 1)));
  api::Load inner{one, load.handles, load.scratch};
  T real = api::load_item<T>(inner);
  if (inner.refused != CUDA_SUCCESS) load.refuse(inner.refused);
  return real;
}

}  // namespace farcall::server
