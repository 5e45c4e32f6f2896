// How a hand-written cu* function begins: find the session, count the call, let nothing escape.
//
//   FARCALL_EXPORT cuCtxGetCurrent(CUcontext* context) {
//     return answer("cuCtxGetCurrent", [&](Client& client) { … });
//   }
//
// Threads: any.
#pragma once
#include <exception>

#include "client_shim/client.h"
#include "client_shim/process.h"
#include "transport/api/stubs.h"  // FARCALL_EXPORT

namespace farcall::shim {

// Runs `body(client)`. Without a session: CUDA_ERROR_NOT_INITIALIZED. Out of memory here is out of
// memory there. Only std::exception is caught, so that a thread's cancellation unwinds through.
template <class Body>
CUresult with_client(const Body& body) {
  Client* client = ready_client();
  if (client == nullptr) return CUDA_ERROR_NOT_INITIALIZED;
  TracedCall traced(client->trace());
  try {
    return body(*client);
  } catch (const std::exception&) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
}

// The same for a call that is answered here, and counted as such.
template <class Body>
CUresult answer(const char* name, const Body& body) {
  return with_client([&](Client& client) {
    client.stats().count(CallKind::kLocal, name);
    return body(client);
  });
}

template <class T>
std::uint64_t id_of(T handle) {
  return reinterpret_cast<std::uint64_t>(handle);
}
template <class T>
T handle_of(std::uint64_t id) {
  return reinterpret_cast<T>(static_cast<std::uintptr_t>(id));
}

}  // namespace farcall::shim
