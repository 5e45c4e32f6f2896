// Copies between this process and the device, as the exported cuMemcpy* functions need them.
//
//   copy_to_device(client, {device, host, bytes, stream, true});
//
// To the device: the bytes leave with the call (so the program may reuse its buffer at once), and
// the call waits for no answer when the destination is known to be valid. From the device: one
// round trip, the bytes land in the program's buffer.
// Threads: any.
#pragma once
#include <cstddef>
#include <cstdint>

#include "client_shim/client.h"

namespace farcall::shim {

struct LinearCopy {
  std::uint64_t device = 0;
  void* host = nullptr;  // read for copies to the device
  std::size_t bytes = 0;
  CUstream stream = nullptr;
  bool is_async = false;
};

// Whether a copy on `stream` may be made at all; a stream brings its context along.
// Errors: as Client::require_context.
CUresult judge_context(Client& client, CUstream stream);

// Finds out what is known of a range on the device.
//   known  whether it lies within one allocation; what is not known the driver must judge
// Errors: CUDA_ERROR_INVALID_VALUE for a range that leaves its allocation.
CUresult judge_device(Client& client, std::uint64_t address, std::uint64_t bytes, bool* known);

// Waits until no copy from any device is on its way to these bytes.
void wait_for_landings(const void* host, std::size_t bytes);
// Whether the whole range is one allocation's; asks the server where that is not known.
bool is_device_range(Client& client, std::uint64_t address, std::uint64_t bytes);

// Both find out whether the host's side is mirrored memory (mirrors.h): then it is the device's
// too.
CUresult copy_to_device(Client& client, const LinearCopy& copy);
CUresult copy_from_device(Client& client, const LinearCopy& copy);

// The same, for memory that the program leaves alone until what is in the stream is done, whatever
// memory that is: posted, where there is room.
CUresult land_from_device(Client& client, const LinearCopy& copy);

// The same for a range on the device that is valid for certain, and a host side of our own.
CUresult send_known(Client& client, const LinearCopy& copy);
CUresult receive(Client& client, const LinearCopy& copy);
// Before a copy or fill of a range on the device: what the program wrote of it goes there.
//   mirrored  set when any of it is mirrored: then CUDA's synchronous forms are done when they
//             return
CUresult lend_range(Client& client, std::uint64_t device, std::size_t bytes, bool writes,
                    bool* mirrored);

// Takes the `bytes` bytes a reply carries, inline or on the bulk lane, into `to`.
CUresult take_payload(Reply& reply, void* to, std::size_t bytes);

}  // namespace farcall::shim
