#include "client_shim/several.h"
#include "transport/api/client_call.h"
#include "transport/base/log.h"

namespace farcall::shim {
namespace row = api::row;

CUresult allocate_apart(Fleet& fleet, CUdeviceptr* address, FunctionRef<CUresult()> make,
                        FunctionRef<void(CUdeviceptr)> release) {
  Client& client = fleet.serving();
  std::vector<CUdeviceptr> kept;
  CUresult made = make();
  while (made == CUDA_SUCCESS && !fleet.is_apart(client, *address)) {
    kept.push_back(*address);
    if (kept.size() == limits::kAddressTriesMax) {
      FARCALL_LOG_ERROR("%s hands out addresses that another server has handed out already",
                        client.settings().server.c_str());
      made = CUDA_ERROR_OUT_OF_MEMORY;
    } else {
      made = make();
    }
  }
  for (CUdeviceptr one : kept) release(one);
  return made;
}

CUresult find_apart(Fleet& fleet, CUdeviceptr* address, FunctionRef<CUresult(CUdeviceptr*)> find) {
  CUdeviceptr at = 0;
  CUresult found = find(&at);
  if (found != CUDA_SUCCESS) return found;
  Client& client = fleet.serving();
  if (!fleet.is_apart(client, at)) {
    FARCALL_LOG_ERROR("a variable on %s has an address that another server has handed out",
                      client.settings().server.c_str());
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  if (address != nullptr) *address = at;
  return CUDA_SUCCESS;
}

// What is kept back is in no map, so the rows are called and not what is around them.
void free_kept(CUdeviceptr address) { (void)api::call<row::cuMemFree_v2>(address); }
void free_kept_async(CUdeviceptr address, CUstream stream) {
  (void)api::call<row::cuMemFreeAsync>(address, stream);
}

Client& maker_of(Fleet& fleet, std::uint64_t handle) {
  Client* owner = fleet.owner_of(handle);
  return owner == nullptr ? fleet.serving() : *owner;
}

}  // namespace farcall::shim
