#include "client_shim/chosen_address.h"

#include <atomic>

#include "transport/api/client_call.h"
#include "transport/base/log.h"

namespace farcall::shim {
namespace row = api::row;

namespace {

CUmemAccessDesc access_of(int ordinal) {
  CUmemAccessDesc access{};
  access.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  access.location.id = ordinal;
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  return access;
}

// Other devices of the server's, where they can.
void open_to_peers(Client& client, CUdeviceptr address, std::size_t bytes, int ordinal) {
  for (int other = 0; auto place = client.visible().place(other); ++other) {
    if (other == ordinal || place->server != static_cast<int>(client.number())) continue;
    const CUmemAccessDesc access = access_of(other);
    const CUresult opened = api::call<row::cuMemSetAccess>(address, bytes, &access, std::size_t{1});
    static std::atomic_flag said;
    if (opened != CUDA_SUCCESS && !said.test_and_set()) {
      FARCALL_LOG_WARN(
          "device %d cannot reach memory of device %d at %#llx: error %d; its kernels "
          "fault that use page-locked memory which the other had first",
          other, ordinal, static_cast<unsigned long long>(address), opened);
    }
  }
}

CUresult fill_range(Client& client, CUdeviceptr address, std::size_t bytes) {
  int ordinal = 0;
  if (CUresult bad = client.current_device(&ordinal); bad != CUDA_SUCCESS) return bad;
  CUmemAllocationProp about{};
  about.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  about.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  about.location.id = ordinal;
  CUmemGenericAllocationHandle memory = 0;
  CUresult done = api::call<row::cuMemCreate>(&memory, bytes, &about, 0ULL);
  if (done != CUDA_SUCCESS) return done;
  done = api::call<row::cuMemMap>(address, bytes, std::size_t{0}, memory, 0ULL);
  // What is mapped stays, and goes with its mapping.
  static_cast<void>(api::call<row::cuMemRelease>(memory));
  if (done != CUDA_SUCCESS) return done;
  const CUmemAccessDesc access = access_of(ordinal);
  done = api::call<row::cuMemSetAccess>(address, bytes, &access, std::size_t{1});
  if (done != CUDA_SUCCESS) {
    static_cast<void>(api::call<row::cuMemUnmap>(address, bytes));
  } else {
    open_to_peers(client, address, bytes, ordinal);
  }
  return done;
}

}  // namespace

CUresult allocate_at(Client& client, CUdeviceptr address, std::size_t bytes) {
  const std::size_t steps = whole_steps(bytes);
  if (steps < bytes || address % kDeviceStepBytes != 0) return CUDA_ERROR_ALREADY_MAPPED;
  CUdeviceptr got = 0;
  CUresult reserved =
      api::call<row::cuMemAddressReserve>(&got, steps, std::size_t{0}, address, 0ULL);
  if (reserved != CUDA_SUCCESS) return reserved;
  const CUresult filled =
      got == address ? fill_range(client, address, steps) : CUDA_ERROR_ALREADY_MAPPED;
  if (filled != CUDA_SUCCESS) static_cast<void>(api::call<row::cuMemAddressFree>(got, steps));
  return filled;
}

void free_at(CUdeviceptr address, std::size_t bytes) {
  const std::size_t steps = whole_steps(bytes);
  if (api::call<row::cuMemUnmap>(address, steps) != CUDA_SUCCESS) return;
  static_cast<void>(api::call<row::cuMemAddressFree>(address, steps));
}

}  // namespace farcall::shim
