#include "client_shim/mirrored.h"

#include <vector>

#include "transport/api/client_call.h"
#include "transport/base/log.h"

namespace farcall::shim {
namespace row = api::row;

CUresult allocate_mirrored(Client& client, std::size_t bytes, Mirrors::Place place,
                           CUdeviceptr* address) {
  // Whole pages, so that no two allocations share one.
  const std::size_t pages = whole_pages(bytes);
  if (pages < bytes) return CUDA_ERROR_OUT_OF_MEMORY;
  place.bytes = pages;
  place.context = client.this_thread().current();
  std::vector<CUdeviceptr> taken;  // kept until the end, or the driver would offer them again
  CUresult result = CUDA_SUCCESS;
  for (int i = 0; i < kMirrorPlacesMax; ++i) {
    CUdeviceptr at = 0;
    result = api::call<row::cuMemAllocManaged>(&at, pages, CU_MEM_ATTACH_GLOBAL);
    if (result != CUDA_SUCCESS) break;
    place.address = place.device = at;
    result = at == whole_pages(at) ? client.mirrors().place(place) : CUDA_ERROR_ALREADY_MAPPED;
    if (result == CUDA_SUCCESS) {
      *address = at;
      break;
    }
    taken.push_back(at);
    if (result != CUDA_ERROR_ALREADY_MAPPED) break;
  }
  for (CUdeviceptr at : taken) static_cast<void>(api::call<row::cuMemFree_v2>(at));
  if (result != CUDA_ERROR_ALREADY_MAPPED) return result;
  FARCALL_LOG_WARN("no address for managed memory that is free on both machines");
  return CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult map_host(Client& client, const Allocation& host) {
  if (client.mirrors().find(host.address, host.bytes)) return CUDA_SUCCESS;
  Mirrors::Place place;
  place.address = host.address;
  place.bytes = host.bytes;
  place.context = client.this_thread().current();
  place.state = PageState::kHost;
  place.is_host = true;
  place.replaces = true;
  CUdeviceptr twin = 0;
  CUresult made = api::call<row::cuMemAlloc_v2>(&twin, whole_pages(host.bytes));
  if (made != CUDA_SUCCESS) return made;
  place.device = twin;
  // Bytes that are on their way to it would land beside it.
  client.landings().wait_clear(reinterpret_cast<void*>(host.address), host.bytes);
  made = client.mirrors().place(place);
  if (made != CUDA_SUCCESS) static_cast<void>(api::call<row::cuMemFree_v2>(twin));
  return made;
}

bool unmap_host(Client& client, const Allocation& host) {
  auto mapped = client.mirrors().find(host.address, 1);
  if (!mapped) return false;
  // Waits for what is under way, as freeing it does.
  static_cast<void>(api::call<row::cuMemFree_v2>(mapped->device));
  client.mirrors().remove(host.address);
  return true;
}

CUresult mirror_variable(Client& client, CUdeviceptr address, std::size_t bytes,
                         std::uint64_t owner) {
  if (client.mirrors().find(address, bytes)) return CUDA_SUCCESS;
  Mirrors::Place place;
  place.device = place.address = address;
  place.bytes = bytes;
  place.context = client.this_thread().current();
  int ordinal = 0;
  if (place.context == nullptr && client.snapshot().device(ordinal) != nullptr) {
    // cudart asks before there is a context: it will be the first device's primary one.
    place.context = reinterpret_cast<CUcontext>(client.snapshot().device(ordinal)->primary_context);
  }
  place.state = PageState::kDevice;  // its first value is there
  place.owner = owner;
  return client.mirrors().place(place);
}

}  // namespace farcall::shim
