#include "client_shim/reach.h"

#include <cstring>

#include "client_shim/mirrored.h"
#include "transport/base/log.h"

namespace farcall::shim {
namespace {

[[gnu::noinline]] void reach(Client& client, std::uint64_t address) {
  const auto found = client.allocations().find_host(address);
  if (!found || found->memory != Memory::kHost || found->is_out_of_reach) return;
  const CUresult mapped = map_host_in_place(client, *found);
  if (mapped == CUDA_SUCCESS) return;
  // That the device is full, or another server has the memory, may be otherwise the next time.
  const bool is_for_good = mapped == CUDA_ERROR_ALREADY_MAPPED;
  if (is_for_good) client.allocations().put_out_of_reach(found->address);
  static LogLimit limit(1);
  if (!is_for_good && !limit.allow()) return;
  FARCALL_LOG_WARN(
      "a kernel is given page-locked memory at %#llx, which the device cannot have there%s: error "
      "%d",
      static_cast<unsigned long long>(found->address), is_for_good ? "" : " now", mapped);
}

bool is_managed_elsewhere(Client& client, std::uint64_t address) {
  const auto found = client.allocations().find_device(address);
  return found && found->memory == Memory::kManaged && found->server != client.number();
}

}  // namespace

CUresult reach_buffer(Client& client, const void* at, std::size_t bytes) {
  const HostUses& uses = client.allocations().host_uses();
  const auto* from = static_cast<const std::byte*>(at);
  for (std::size_t word = 0; bytes - word >= 8 && word < bytes; word += 8) {
    std::uint64_t address = 0;
    std::memcpy(&address, from + word, sizeof address);
    if (uses.may_be_given(address)) reach(client, address);
    if (has_several_servers() && is_managed_elsewhere(client, address)) {
      FARCALL_LOG_ERROR("a kernel is given managed memory of another server at %#llx",
                        static_cast<unsigned long long>(address));
      return CUDA_ERROR_NOT_SUPPORTED;
    }
  }
  return CUDA_SUCCESS;
}

CUresult reach_parameters(Client& client, const FunctionFacts& kernel, void** params) {
  for (std::size_t i = 0; i < kernel.param_bytes.size(); ++i) {
    if (kernel.param_bytes[i] < 8) continue;
    CUresult bad = reach_buffer(client, params[i], kernel.param_bytes[i]);
    if (bad != CUDA_SUCCESS) return bad;
  }
  return CUDA_SUCCESS;
}

}  // namespace farcall::shim
