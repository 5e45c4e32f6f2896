#include "client_shim/mirrored.h"

#include <vector>

#include "client_shim/chosen_address.h"
#include "client_shim/copy.h"
#include "client_shim/host_pages.h"
#include "client_shim/process.h"
#include "client_shim/stand_ins.h"
#include "transport/api/client_call.h"
#include "transport/api/rows.h"
#include "transport/base/log.h"

namespace farcall::shim {
namespace row = api::row;

namespace {

// Whether no other server has handed out any of these addresses.
bool is_apart(Client& client, std::uint64_t address, std::size_t bytes) {
  if (!has_several_servers()) return true;
  Allocation trial;
  trial.address = address;
  trial.bytes = bytes;
  trial.server = client.number();
  if (!client.allocations().add(trial)) return false;
  client.allocations().take_device(address);
  return true;
}

}  // namespace

CUresult allocate_mirrored(Client& client, std::size_t bytes, Mirrors::Place place,
                           CUdeviceptr* address) {
  // Whole pages, so that no two allocations share one.
  const std::size_t pages = whole_pages(bytes);
  if (pages < bytes) return CUDA_ERROR_OUT_OF_MEMORY;
  place.bytes = pages;
  place.context = client.this_thread().current();
  std::vector<CUdeviceptr> taken;  // kept until the end, or the driver would offer them again
  CUresult result = CUDA_SUCCESS;
  std::size_t spare = 0;  // for a driver whose addresses are not those of pages
  for (int i = 0; i < kMirrorPlacesMax; ++i) {
    CUdeviceptr at = 0;
    result = api::call<row::cuMemAllocManaged>(&at, pages + spare, CU_MEM_ATTACH_GLOBAL);
    if (result != CUDA_SUCCESS) break;
    place.base = at;
    place.address = place.device = whole_pages(at);
    const bool fits = place.address - at <= spare && is_apart(client, place.address, pages);
    result = fits ? client.mirrors().place(place) : CUDA_ERROR_ALREADY_MAPPED;
    if (result == CUDA_SUCCESS) {
      *address = place.address;
      break;
    }
    taken.push_back(at);
    if (place.address != at) spare = whole_pages(1);
    if (result != CUDA_ERROR_ALREADY_MAPPED) break;
  }
  for (CUdeviceptr at : taken) static_cast<void>(api::call<row::cuMemFree_v2>(at));
  if (result != CUDA_ERROR_ALREADY_MAPPED) return result;
  FARCALL_LOG_WARN("no address for managed memory that is free on both machines");
  return CUDA_ERROR_OUT_OF_MEMORY;
}

namespace {

// Whose device has this memory, too; null for nobody's.
Client* who_has(const Allocation& host) {
  Client* found = nullptr;
  for_each_client([&](Client& one) {
    if (one.mirrors().find(host.address, 1)) found = &one;
  });
  return found;
}

// The registered memory must be whole pages: what shares a page with it, the C library's notes on
// blocks of memory for instance, would be closed with it.
bool can_move(const Allocation& host) {
  if (host.memory == Memory::kHost) return true;
  const std::uint64_t end = host.address + host.bytes;
  return host.address == whole_pages(host.address) && end == whole_pages(end) &&
         is_plain_memory(host.address, host.bytes);
}

// Device memory for it, at its own address or, where it may be so, at another.
CUresult find_place(Client& client, const Allocation& host, bool in_place, Mirrors::Place* place) {
  if (host.memory == Memory::kHost) {
    CUresult made = allocate_at(client, host.address, host.bytes);
    place->is_chosen = made == CUDA_SUCCESS;
    place->device = host.address;
    if (place->is_chosen || in_place) return made;
  }
  Allocation twin;
  twin.bytes = whole_pages(host.bytes);
  twin.memory = Memory::kGlobal;  // which the program cannot free
  twin.host = host.address;
  CUresult made = allocate_stand_in(client, &twin);
  place->device = twin.address;
  return made;
}

void free_place(Client& client, const Mirrors::Spot& spot, const Allocation& host) {
  if (spot.device != host.address) static_cast<void>(client.allocations().take_device(spot.device));
  if (!spot.is_chosen) {
    // Waits for what is under way.
    static_cast<void>(api::call<row::cuMemFree_v2>(spot.base));
  } else if (api::call<row::cuCtxSynchronize>() == CUDA_SUCCESS) {
    free_at(spot.device, host.bytes);
  }
}

CUresult map(Client& client, const Allocation& host, bool in_place) {
  if (Client* has = who_has(host)) return has == &client ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
  if (!can_move(host)) return CUDA_ERROR_NOT_SUPPORTED;
  Mirrors::Place place;
  place.address = host.address;
  place.bytes = host.bytes;
  place.context = client.this_thread().current();
  place.state = PageState::kHost;
  place.is_host = true;
  place.replaces = true;
  HostUses::Change alone(client.allocations().host_uses(), host.address, host.bytes);
  if (client.mirrors().find(host.address, host.bytes)) return CUDA_SUCCESS;
  // Bytes that are on their way to it would land beside it.
  wait_for_landings(reinterpret_cast<void*>(host.address), host.bytes);
  CUresult made = client.mirrors().in_context(
      place.context, [&] { return find_place(client, host, in_place, &place); });
  if (made != CUDA_SUCCESS) return made;
  made = client.mirrors().place(place);
  if (made != CUDA_SUCCESS) {
    static_cast<void>(client.mirrors().in_context(place.context, [&] {
      free_place(client, {place.device, true, place.is_chosen, place.device, place.context}, host);
      return CUDA_SUCCESS;
    }));
  }
  return made;
}

}  // namespace

CUresult map_host(Client& client, const Allocation& host) { return map(client, host, false); }

CUresult map_host_in_place(Client& client, const Allocation& host) {
  return map(client, host, true);
}

CUresult unmap_host(const Allocation& host, bool* mapped) {
  Client* client = who_has(host);
  *mapped = client != nullptr;
  if (client == nullptr) return CUDA_SUCCESS;
  const Mirrors::Spot spot = client->mirrors().find(host.address, 1).value();
  if (host.memory == Memory::kRegistered) {
    // What is under way may write to it.
    CUresult restored = client->mirrors().in_context(
        spot.context, [] { return api::call<row::cuCtxSynchronize>(); });
    if (restored == CUDA_SUCCESS) restored = client->mirrors().restore(host.address);
    if (restored != CUDA_SUCCESS) return restored;
  } else {
    client->mirrors().remove(host.address);
  }
  return client->mirrors().in_context(spot.context, [&] {
    free_place(*client, spot, host);
    return CUDA_SUCCESS;
  });
}

void unmap_hosts(Client& client, CUcontext context) {
  const std::vector<Mirrors::Place> places = client.mirrors().host_memory(context);
  if (places.empty()) return;
  // What is under way may write to them.
  const bool is_done = client.mirrors().in_context(context, [] {
    return api::call<row::cuCtxSynchronize>();
  }) == CUDA_SUCCESS;
  for (const Mirrors::Place& place : places) {
    const auto host = client.allocations().find_host(place.address);
    const bool ends = !host || (host->memory == Memory::kHost && host->context == context);
    CUresult restored = client.mirrors().restore(place.address, is_done && !ends);
    if (restored != CUDA_SUCCESS) restored = client.mirrors().restore(place.address, false);
    if (restored != CUDA_SUCCESS || !host) continue;
    const std::uint64_t base = place.base != 0 ? place.base : place.device;
    static_cast<void>(client.mirrors().in_context(context, [&] {
      free_place(client, {place.device, true, place.is_chosen, base, context}, *host);
      return CUDA_SUCCESS;
    }));
  }
}

CUresult mirror_variable(Client& client, CUdeviceptr address, std::size_t bytes,
                         std::uint64_t owner) {
  if (bytes == 0) return CUDA_SUCCESS;
  Mirrors::Variable variable{address, bytes, client.this_thread().current(), owner};
  const Device* first = client.snapshot().device(0);
  if (variable.context == nullptr && first != nullptr) {
    // cudart asks before there is a context: it will be the first device's primary one.
    variable.context = reinterpret_cast<CUcontext>(first->primary_context);
  }
  return client.mirrors().place_variable(variable);
}

}  // namespace farcall::shim
