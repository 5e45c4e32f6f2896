#include "client_shim/several_virtual.h"

#include <vector>

#include "transport/api/client_call.h"
#include "transport/base/log.h"

namespace farcall::shim {
namespace row = api::row;

CUresult mark_handle(Fleet& fleet, MemoryHandle* handle, FunctionRef<CUresult()> make) {
  CUresult made = make();
  if (made != CUDA_SUCCESS) return made;
  if (api::server_of(*handle) != 0) {
    (void)api::call<row::cuMemRelease>(*handle);
    FARCALL_LOG_ERROR("the driver's allocation handles leave no room for a server's number");
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  *handle = api::with_server(*handle, fleet.serving().number());
  return CUDA_SUCCESS;
}

CUresult with_handle(Fleet& fleet, MemoryHandle handle, FunctionRef<CUresult(MemoryHandle)> use) {
  const unsigned server = api::server_of(handle);
  if (server >= fleet.clients().size()) return CUDA_ERROR_INVALID_VALUE;
  Serving serving(fleet, *fleet.clients()[server]);
  return use(api::with_server(handle, 0));
}

namespace {

// Entered as memory for a moment, it would replace none but its own server's, which has none there.
bool is_apart(Fleet& fleet, CUdeviceptr address, std::size_t bytes, unsigned server) {
  Allocation range;
  range.address = address;
  range.bytes = bytes;
  range.server = server;
  if (!fleet.allocations().add(range)) return false;
  (void)fleet.allocations().take_device(address);
  return true;
}

}  // namespace

CUresult reserve_apart(Fleet& fleet, CUdeviceptr* address, std::size_t bytes,
                       FunctionRef<CUresult()> reserve) {
  Client& client = fleet.serving();
  std::vector<CUdeviceptr> kept;
  CUresult made = reserve();
  while (made == CUDA_SUCCESS && !(is_apart(fleet, *address, bytes, client.number()) &&
                                   fleet.numbers().reserved(*address, bytes, client.number()))) {
    kept.push_back(*address);
    made = kept.size() == limits::kAddressTriesMax ? CUDA_ERROR_OUT_OF_MEMORY : reserve();
  }
  for (CUdeviceptr one : kept) (void)api::call<row::cuMemAddressFree>(one, bytes);
  return made;
}

namespace {

Client& reserver_of(Fleet& fleet, CUdeviceptr address) {
  auto server = fleet.numbers().reserver_of(address);
  if (!server) server = fleet.owner_of_address(address);
  return server ? *fleet.clients()[*server] : fleet.serving();
}

}  // namespace

CUresult as_reserver(Fleet& fleet, CUdeviceptr address, FunctionRef<CUresult()> call) {
  Serving serving(fleet, reserver_of(fleet, address));
  return call();
}

CUresult map_handle(Fleet& fleet, CUdeviceptr address, MemoryHandle handle,
                    FunctionRef<CUresult(MemoryHandle)> map) {
  if (api::server_of(handle) != reserver_of(fleet, address).number()) {
    return refuse_crossing("cuMemMap", CUDA_ERROR_NOT_SUPPORTED);
  }
  return with_handle(fleet, handle, map);
}

bool is_device_of(Fleet& fleet, CUdeviceptr address, const CUmemLocation& device) {
  const Hint hint = structure_hints(&device).front();
  Client* owner =
      hint.clue == Clue::kDevice ? fleet.owner_of_device(static_cast<int>(hint.value)) : nullptr;
  return owner == nullptr || owner == &reserver_of(fleet, address);
}

CUresult make_object(Fleet& fleet, std::uint64_t* object, const CUDA_RESOURCE_DESC* resource,
                     FunctionRef<CUresult()> make) {
  std::array<Hints, 1> hints{structure_hints(resource)};
  Client& client = *find_route(fleet, hints).client;
  Serving serving(fleet, client);
  CUresult made = make();
  if (made == CUDA_SUCCESS) fleet.numbers().made(*object, client.number());
  return made;
}

CUresult as_maker(Fleet& fleet, std::uint64_t object, bool ends, FunctionRef<CUresult()> call) {
  Client& here = fleet.serving();
  const auto server = fleet.numbers().maker_of(object, here.number());
  Client& client = server ? *fleet.clients()[*server] : here;
  Serving serving(fleet, client);
  CUresult result = call();
  if (ends && result == CUDA_SUCCESS) fleet.numbers().ended(object, client.number());
  return result;
}

}  // namespace farcall::shim
