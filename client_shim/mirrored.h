// Allocations that program and device both touch, at one address where there is one to be had.
//
//   CUdeviceptr address = 0;
//   CUresult made = allocate_mirrored(client, bytes, place, &address);
//
// The server's driver says where; this process must have nothing there. Threads: any.
#pragma once
#include <cstddef>
#include <cstdint>

#include "client_shim/client.h"

namespace farcall::shim {

// Addresses a server offers that are taken here before an allocation is given up.
inline constexpr int kMirrorPlacesMax = 16;

// Memory of the current context.  place: all but its addresses, bytes and context.
// Errors: CUDA_ERROR_OUT_OF_MEMORY, also when kMirrorPlacesMax addresses were taken here.
CUresult allocate_mirrored(Client& client, std::size_t bytes, Mirrors::Place place,
                           CUdeviceptr* address);

// Makes host memory of this process (kHost) the device's as well, at an address of the device's.
CUresult map_host(Client& client, const Allocation& host);
// The opposite of either, for host memory; its pages go too. False where it was not mapped.
bool unmap_host(Client& client, const Allocation& host);

// A variable of a module or library, the driver's answer to where it is.
CUresult mirror_variable(Client& client, CUdeviceptr address, std::size_t bytes,
                         std::uint64_t owner);

}  // namespace farcall::shim
