// Host memory: pages of this process. The device is elsewhere, so "page-locked" here means
// page-aligned and known to the allocation map; copies from it are ordinary copies.
// Memory that is mapped for the device (zero-copy) has a twin there (mirrors.h): from the start
// when it was asked for so; else from the first kernel that is given its address (reach.h), or the
// first question for its device address.
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>

#include "client_shim/copy.h"
#include "client_shim/entry.h"
#include "client_shim/host_pages.h"
#include "client_shim/mirrored.h"
#include "transport/api/refuse.h"

using farcall::shim::Allocation;
using farcall::shim::answer;
using farcall::shim::Client;
using farcall::shim::Memory;
using farcall::shim::Mirrors;

namespace {

constexpr unsigned kHostFlags =
    CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;
constexpr unsigned kRegisterFlags = CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP |
                                    CU_MEMHOSTREGISTER_IOMEMORY | CU_MEMHOSTREGISTER_READ_ONLY;

bool can_map(Client& client, int ordinal) {
  const auto* device = client.snapshot().device(ordinal);
  return device->attribute_or(CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 0) != 0;
}

// Where the device has it too, or null.
void* allocate_mapped(Client& client, std::size_t bytes) {
  Mirrors::Place place;
  place.is_host = true;
  CUdeviceptr at = 0;
  CUresult made = farcall::shim::allocate_mirrored(client, bytes, place, &at);
  return made == CUDA_SUCCESS ? reinterpret_cast<void*>(at) : nullptr;
}

// Of what no capture sees.
CUresult judge_capture(Client& client) {
  if (!client.captures().any()) return CUDA_SUCCESS;
  return farcall::shim::judge_in_capture(farcall::shim::CaptureRule::kUnsafe, {});
}

CUresult allocate(Client& client, void** pointer, std::size_t bytes, unsigned flags) {
  if (CUresult bad = client.require_context(); bad != CUDA_SUCCESS) return bad;
  if (CUresult no = judge_capture(client); no != CUDA_SUCCESS) return no;
  if (pointer == nullptr || bytes == 0 || (flags & ~kHostFlags) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  int ordinal = 0;
  if (CUresult device = client.current_device(&ordinal); device != CUDA_SUCCESS) return device;
  void* at = nullptr;
  if ((flags & CU_MEMHOSTALLOC_DEVICEMAP) != 0 && can_map(client, ordinal)) {
    at = allocate_mapped(client, bytes);
  }
  if (at == nullptr) at = farcall::shim::take_host_pages(bytes);
  if (at == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  Allocation made;
  made.address = reinterpret_cast<std::uint64_t>(at);
  made.bytes = bytes;
  made.context = client.this_thread().current();
  made.memory = Memory::kHost;
  made.ordinal = ordinal;
  made.flags = flags;
  client.allocations().add(made);
  *pointer = at;
  return CUDA_SUCCESS;
}

// Whether the program has memory at all of these addresses: a local driver could not lock it else.
bool is_there(std::uint64_t address, std::uint64_t bytes) {
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const std::uint64_t first = address / page * page;
  // Asks and changes nothing: with MS_ASYNC the kernel only looks whether the pages are mapped.
  return address + bytes > address &&
         ::msync(reinterpret_cast<void*>(first), address + bytes - first, MS_ASYNC) == 0;
}

}  // namespace

FARCALL_EXPORT cuMemHostAlloc(void** pointer, size_t bytes, unsigned int flags) {
  return answer("cuMemHostAlloc",
                [&](Client& client) { return allocate(client, pointer, bytes, flags); });
}

FARCALL_EXPORT cuMemAllocHost_v2(void** pointer, size_t bytes) {
  return answer("cuMemAllocHost_v2",
                [&](Client& client) { return allocate(client, pointer, bytes, 0); });
}

FARCALL_EXPORT cuMemFreeHost(void* pointer) {
  return answer("cuMemFreeHost", [&](Client& client) {
    if (CUresult bad = client.require_context(); bad != CUDA_SUCCESS) return bad;
    if (CUresult no = judge_capture(client); no != CUDA_SUCCESS) return no;
    if (pointer == nullptr) return CUDA_SUCCESS;
    auto address = reinterpret_cast<std::uint64_t>(pointer);
    auto found = client.allocations().find_host(address);
    if (!found || found->address != address || found->memory != Memory::kHost) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    farcall::shim::wait_for_landings(pointer, found->bytes);
    client.allocations().take_host(address);
    // A mapped one takes its pages along.
    bool was_mapped = false;
    CUresult unmapped = farcall::shim::unmap_host(*found, &was_mapped);
    if (was_mapped) {
      farcall::shim::forget_host_pages(pointer, found->bytes);
    } else {
      farcall::shim::give_back_host_pages(pointer, found->bytes);
    }
    return unmapped;
  });
}

FARCALL_EXPORT cuMemHostRegister_v2(void* pointer, size_t bytes, unsigned int flags) {
  return answer("cuMemHostRegister_v2", [&](Client& client) {
    if (pointer == nullptr || bytes == 0 || (flags & ~kRegisterFlags) != 0) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (CUresult bad = client.require_context(); bad != CUDA_SUCCESS) return bad;
    int ordinal = 0;
    if (CUresult device = client.current_device(&ordinal); device != CUDA_SUCCESS) return device;
    auto address = reinterpret_cast<std::uint64_t>(pointer);
    if (!is_there(address, bytes)) return CUDA_ERROR_INVALID_VALUE;
    Allocation made;
    made.address = address;
    made.bytes = bytes;
    made.context = client.this_thread().current();
    made.memory = Memory::kRegistered;
    made.ordinal = ordinal;
    made.flags = flags;
    return client.allocations().add(made) ? CUDA_SUCCESS
                                          : CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  });
}

FARCALL_EXPORT cuMemHostUnregister(void* pointer) {
  return answer("cuMemHostUnregister", [&](Client& client) {
    if (pointer == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (CUresult bad = client.require_context(); bad != CUDA_SUCCESS) return bad;
    auto address = reinterpret_cast<std::uint64_t>(pointer);
    auto found = client.allocations().find_host(address);
    if (!found || found->address != address || found->memory != Memory::kRegistered) {
      return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
    }
    farcall::shim::wait_for_landings(pointer, found->bytes);
    bool was_mapped = false;
    CUresult unmapped = farcall::shim::unmap_host(*found, &was_mapped);
    if (unmapped == CUDA_SUCCESS) client.allocations().take_host(address);
    return unmapped;
  });
}

FARCALL_EXPORT cuMemHostGetDevicePointer_v2(CUdeviceptr* device, void* pointer,
                                            unsigned int flags) {
  return answer("cuMemHostGetDevicePointer_v2", [&](Client& client) {
    const auto address = reinterpret_cast<std::uint64_t>(pointer);
    auto found = client.allocations().find_host(address);
    if (device == nullptr || flags != 0 || !found) return CUDA_ERROR_INVALID_VALUE;
    CUresult mapped = farcall::shim::map_host(client, *found);
    if (mapped == CUDA_ERROR_NOT_SUPPORTED) {
      static std::atomic_flag said;
      return static_cast<CUresult>(farcall::api::refuse(
          said, "cuMemHostGetDevicePointer_v2",
          "only whole pages of plain memory, registered by themselves, can be a device's as well"));
    }
    if (mapped != CUDA_SUCCESS) return mapped;
    *device = client.mirrors().find(address, 1).value().device;
    return CUDA_SUCCESS;
  });
}

FARCALL_EXPORT cuMemHostGetFlags(unsigned int* flags, void* pointer) {
  return answer("cuMemHostGetFlags", [&](Client& client) {
    auto found = client.allocations().find_host(reinterpret_cast<std::uint64_t>(pointer));
    if (flags == nullptr || !found || found->memory != Memory::kHost) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    // With unified addressing all of it is mapped, as far as CUDA says.
    *flags = found->flags | (can_map(client, found->ordinal) ? CU_MEMHOSTALLOC_DEVICEMAP : 0);
    return CUDA_SUCCESS;
  });
}
