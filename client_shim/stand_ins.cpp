#include "client_shim/stand_ins.h"

#include <vector>

#include "transport/api/client_call.h"
#include "transport/api/rows.h"

namespace farcall::shim {
namespace row = api::row;

CUresult allocate_stand_in(Client& client, Allocation* made) {
  made->context = client.this_thread().current();
  made->server = client.number();
  if (CUresult bad = client.current_device(&made->ordinal); bad != CUDA_SUCCESS) return bad;
  std::vector<CUdeviceptr> kept;  // to the end, or the driver would offer them again
  CUresult result = CUDA_SUCCESS;
  for (bool is_apart = false; result == CUDA_SUCCESS && !is_apart;) {
    CUdeviceptr at = 0;
    result = api::call<row::cuMemAlloc_v2>(&at, made->bytes);
    if (result != CUDA_SUCCESS) break;
    made->address = at;
    is_apart = client.allocations().add(*made);
    if (!is_apart) kept.push_back(at);
    if (kept.size() == limits::kAddressTriesMax) result = CUDA_ERROR_OUT_OF_MEMORY;
  }
  for (CUdeviceptr at : kept) static_cast<void>(api::call<row::cuMemFree_v2>(at));
  if (result == CUDA_SUCCESS) {
    client.allocations().held_ranges().hold(made->address, made->bytes);
  }
  return result;
}

}  // namespace farcall::shim
