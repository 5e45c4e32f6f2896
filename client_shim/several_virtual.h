// What CUDA names by plain numbers, in a program with several servers (routed.h): virtual memory,
// texture and surface objects.
//
// An allocation handle is marked with its server as every other handle is, and the mark taken off
// on the way; a reserved range belongs to the server that reserved it (plain_numbers.h), which was
// the current context's. Memory of one server is never mapped into a range of another's:
// CUDA_ERROR_NOT_SUPPORTED; nor does a device of one get access to it: CUDA_ERROR_INVALID_DEVICE.
// Threads: any.
#pragma once
#include "client_shim/several.h"

namespace farcall::shim {

using MemoryHandle = CUmemGenericAllocationHandle;

// Marks what `make` gave the server being served.
// Errors: as `make`; CUDA_ERROR_NOT_SUPPORTED for a driver whose handles leave no room for it.
CUresult mark_handle(Fleet& fleet, MemoryHandle* handle, FunctionRef<CUresult()> make);
// Serves whoever made the handle, which `use` gets as its server knows it.
CUresult with_handle(Fleet& fleet, MemoryHandle handle, FunctionRef<CUresult(MemoryHandle)> use);
CUresult reserve_apart(Fleet& fleet, CUdeviceptr* address, std::size_t bytes,
                       FunctionRef<CUresult()> reserve);
// Serves whoever reserved the range around `address`; else the owner of memory there.
CUresult as_reserver(Fleet& fleet, CUdeviceptr address, FunctionRef<CUresult()> call);
CUresult map_handle(Fleet& fleet, CUdeviceptr address, MemoryHandle handle,
                    FunctionRef<CUresult(MemoryHandle)> map);
// Whether this device is one of the server's that has the range.
bool is_device_of(Fleet& fleet, CUdeviceptr address, const CUmemLocation& device);
// Remembers what `make` gives the server that the resource belongs to.
CUresult make_object(Fleet& fleet, std::uint64_t* object, const CUDA_RESOURCE_DESC* resource,
                     FunctionRef<CUresult()> make);
CUresult as_maker(Fleet& fleet, std::uint64_t object, bool ends, FunctionRef<CUresult()> call);

template <auto kInner>
struct Several<&::cuMemCreate, kInner> {
  static CUresult call(Fleet& fleet, MemoryHandle* handle, std::size_t bytes,
                       const CUmemAllocationProp* wanted, unsigned long long flags) {
    std::array<Hints, 1> hints{structure_hints(wanted)};
    Serving serving(fleet, *find_route(fleet, hints).client);
    return mark_handle(fleet, handle, [&] { return kInner(handle, bytes, wanted, flags); });
  }
};
template <auto kInner>
struct Several<&::cuMemRelease, kInner> {
  static CUresult call(Fleet& fleet, MemoryHandle handle) {
    return with_handle(fleet, handle, [](MemoryHandle plain) { return kInner(plain); });
  }
};
template <auto kInner>
struct Several<&::cuMemGetAllocationPropertiesFromHandle, kInner> {
  static CUresult call(Fleet& fleet, CUmemAllocationProp* told, MemoryHandle handle) {
    return with_handle(fleet, handle, [&](MemoryHandle plain) { return kInner(told, plain); });
  }
};
template <auto kInner>
struct Several<&::cuMemRetainAllocationHandle, kInner> {
  static CUresult call(Fleet& fleet, MemoryHandle* handle, void* address) {
    return as_reserver(fleet, reinterpret_cast<CUdeviceptr>(address), [&] {
      return mark_handle(fleet, handle, [&] { return kInner(handle, address); });
    });
  }
};
template <auto kInner>
struct Several<&::cuMemMap, kInner> {
  static CUresult call(Fleet& fleet, CUdeviceptr address, std::size_t bytes, std::size_t offset,
                       MemoryHandle handle, unsigned long long flags) {
    return map_handle(fleet, address, handle, [&](MemoryHandle plain) {
      return kInner(address, bytes, offset, plain, flags);
    });
  }
};
template <auto kInner>
struct Several<&::cuMemAddressReserve, kInner> {
  static CUresult call(Fleet& fleet, CUdeviceptr* address, std::size_t bytes, std::size_t alignment,
                       CUdeviceptr wanted, unsigned long long flags) {
    Serving serving(fleet, fleet.serving());
    return reserve_apart(fleet, address, bytes,
                         [&] { return kInner(address, bytes, alignment, wanted, flags); });
  }
};
template <auto kInner>
struct Several<&::cuMemAddressFree, kInner> {
  static CUresult call(Fleet& fleet, CUdeviceptr address, std::size_t bytes) {
    CUresult freed = as_reserver(fleet, address, [&] { return kInner(address, bytes); });
    if (freed == CUDA_SUCCESS) fleet.numbers().given_back(address);
    return freed;
  }
};
template <auto kInner>
struct Several<&::cuMemUnmap, kInner> {
  static CUresult call(Fleet& fleet, CUdeviceptr address, std::size_t bytes) {
    return as_reserver(fleet, address, [&] { return kInner(address, bytes); });
  }
};
template <auto kInner>
struct Several<&::cuMemSetAccess, kInner> {
  static CUresult call(Fleet& fleet, CUdeviceptr address, std::size_t bytes,
                       const CUmemAccessDesc* access, std::size_t count) {
    for (std::size_t i = 0; access != nullptr && i < count; ++i) {
      if (!is_device_of(fleet, address, access[i].location)) {
        return refuse_crossing("cuMemSetAccess", CUDA_ERROR_INVALID_DEVICE);
      }
    }
    return as_reserver(fleet, address, [&] { return kInner(address, bytes, access, count); });
  }
};
template <auto kInner>
struct Several<&::cuMemGetAccess, kInner> {
  static CUresult call(Fleet& fleet, unsigned long long* flags, const CUmemLocation* location,
                       CUdeviceptr address) {
    if (flags != nullptr && location != nullptr && !is_device_of(fleet, address, *location)) {
      *flags = CU_MEM_ACCESS_FLAGS_PROT_NONE;
      return CUDA_SUCCESS;
    }
    return as_reserver(fleet, address, [&] { return kInner(flags, location, address); });
  }
};

template <auto kInner>
struct Several<&::cuTexObjectCreate, kInner> {
  static CUresult call(Fleet& fleet, CUtexObject* object, const CUDA_RESOURCE_DESC* resource,
                       const CUDA_TEXTURE_DESC* texture, const CUDA_RESOURCE_VIEW_DESC* view) {
    static_assert(sizeof(CUtexObject) == sizeof(std::uint64_t));
    CUtexObject made = 0;
    std::uint64_t number = 0;
    CUresult result = make_object(fleet, &number, resource, [&] {
      CUresult told = kInner(object == nullptr ? nullptr : &made, resource, texture, view);
      number = made;
      return told;
    });
    if (result == CUDA_SUCCESS) *object = made;
    return result;
  }
};
template <auto kInner>
struct Several<&::cuSurfObjectCreate, kInner> {
  static CUresult call(Fleet& fleet, CUsurfObject* object, const CUDA_RESOURCE_DESC* resource) {
    CUsurfObject made = 0;
    std::uint64_t number = 0;
    CUresult result = make_object(fleet, &number, resource, [&] {
      CUresult told = kInner(object == nullptr ? nullptr : &made, resource);
      number = made;
      return told;
    });
    if (result == CUDA_SUCCESS) *object = made;
    return result;
  }
};
// What is asked of an object by its number.
template <auto kInner, class Told>
struct OfObject {
  static CUresult call(Fleet& fleet, Told* told, unsigned long long object) {
    return as_maker(fleet, object, false, [&] { return kInner(told, object); });
  }
};
template <auto kInner>
struct EndOfObject {
  static CUresult call(Fleet& fleet, unsigned long long object) {
    return as_maker(fleet, object, true, [&] { return kInner(object); });
  }
};
template <auto kInner>
struct Several<&::cuTexObjectDestroy, kInner> : EndOfObject<kInner> {};
template <auto kInner>
struct Several<&::cuSurfObjectDestroy, kInner> : EndOfObject<kInner> {};
template <auto kInner>
struct Several<&::cuTexObjectGetResourceDesc, kInner> : OfObject<kInner, CUDA_RESOURCE_DESC> {};
template <auto kInner>
struct Several<&::cuTexObjectGetTextureDesc, kInner> : OfObject<kInner, CUDA_TEXTURE_DESC> {};
template <auto kInner>
struct Several<&::cuTexObjectGetResourceViewDesc, kInner>
    : OfObject<kInner, CUDA_RESOURCE_VIEW_DESC> {};
template <auto kInner>
struct Several<&::cuSurfObjectGetResourceDesc, kInner> : OfObject<kInner, CUDA_RESOURCE_DESC> {};

}  // namespace farcall::shim
