// Linear copies. The unified forms (cuMemcpy) find out which side is the device's from the
// allocation map: an address the session handed out is the device's, every other is this process's.
#include <cstring>

#include "client_shim/behind.h"
#include "client_shim/copy.h"
#include "client_shim/entry.h"

using farcall::shim::Client;
using farcall::shim::LinearCopy;
using farcall::shim::with_client;

namespace {

void* host(std::uint64_t address) {
  return reinterpret_cast<void*>(static_cast<std::uintptr_t>(address));
}

CUresult to_device(CUdeviceptr device, const void* from, std::size_t bytes, CUstream stream,
                   bool is_async) {
  return with_client([&](Client& client) {
    return farcall::shim::copy_to_device(
        client, {device, const_cast<void*>(from), bytes, stream, is_async});
  });
}

CUresult from_device(void* to, CUdeviceptr device, std::size_t bytes, CUstream stream,
                     bool is_async) {
  return with_client([&](Client& client) {
    return farcall::shim::copy_from_device(client, {device, to, bytes, stream, is_async});
  });
}

CUresult unified(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, CUstream stream,
                 bool is_async) {
  return with_client([&](Client& client) {
    if (CUresult bad = farcall::shim::judge_context(client, stream); bad != CUDA_SUCCESS) {
      return bad;
    }
    if (bytes == 0) return CUDA_SUCCESS;
    if (to == 0 || from == 0) return CUDA_ERROR_INVALID_VALUE;
    bool device_to = client.allocations().find_device(to).has_value();
    bool device_from = client.allocations().find_device(from).has_value();
    if (device_to && device_from) {
      return is_async ? cuMemcpyDtoDAsync_v2(to, from, bytes, stream)
                      : cuMemcpyDtoD_v2(to, from, bytes);
    }
    if (device_to) {
      return farcall::shim::copy_to_device(client, {to, host(from), bytes, stream, is_async});
    }
    if (device_from) {
      return farcall::shim::copy_from_device(client, {from, host(to), bytes, stream, is_async});
    }
    // Both are this process's: in order behind the stream's earlier work.
    CUresult waited = is_async ? cuStreamSynchronize(stream) : CUDA_SUCCESS;
    if (waited == CUDA_SUCCESS) std::memmove(host(to), host(from), bytes);
    return waited;
  });
}

}  // namespace

FARCALL_EXPORT cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t bytes) {
  return to_device(to, from, bytes, nullptr, false);
}
FARCALL_EXPORT cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes,
                                    CUstream stream) {
  return to_device(to, from, bytes, stream, true);
}
FARCALL_EXPORT cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t bytes) {
  return from_device(to, from, bytes, nullptr, false);
}
FARCALL_EXPORT cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return from_device(to, from, bytes, stream, true);
}
FARCALL_EXPORT cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  return unified(to, from, bytes, nullptr, false);
}
FARCALL_EXPORT cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return unified(to, from, bytes, stream, true);
}
