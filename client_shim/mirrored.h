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

// Makes page-locked memory of this process the device's as well; nothing when it is so already. At
// its own address if it was allocated by CUDA and the server can have memory there, else at another
// of the device's, which `Allocations` then knows. Waits for copies of ours in this memory, those
// that are on their way to it included.
// Errors: CUDA_ERROR_NOT_SUPPORTED for registered memory that is not whole pages of plain memory
// (host_pages.h), and for what another server has; the link's and the driver's.
CUresult map_host(Client& client, const Allocation& host);
// The same for allocated memory, and at its own address or not at all.
// Errors: CUDA_ERROR_ALREADY_MAPPED when the server cannot have memory there.
CUresult map_host_in_place(Client& client, const Allocation& host);
// Before a context ends: host memory that is mirrored there is this process's alone again, with
// what the device wrote to it, but for allocated memory that ends with its context: that stays as
// the program last saw it. What outlives the context may be mirrored again in another.
void unmap_hosts(Client& client, CUcontext context);
// The opposite of either, for host memory. Allocated memory goes, its pages too; registered memory
// is the program's own again.
//   mapped  whether it was mapped at all
// Errors: as Mirrors::restore, for registered memory only; it is mapped still.
CUresult unmap_host(const Allocation& host, bool* mapped);

// A variable of a module or library, the driver's answer to where it is.
CUresult mirror_variable(Client& client, CUdeviceptr address, std::size_t bytes,
                         std::uint64_t owner);

}  // namespace farcall::shim
