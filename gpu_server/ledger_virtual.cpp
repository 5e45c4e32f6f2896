// Virtual memory management. Memory lives as long as a handle or a mapping of it does, in whatever
// order they go, so it is counted by both.
#include "gpu_server/ledger_driver.h"

namespace farcall::server {

LedgerDriver::Physical::~Physical() { LedgerDriver::get().give_back(held); }

namespace metered {

// Memory of the server itself counts as the first device's: it is not to be had without limit.
CUresult cuMemCreate(CUmemGenericAllocationHandle* handle, std::size_t bytes,
                     const CUmemAllocationProp* about, unsigned long long flags) {
  LedgerDriver& meter = LedgerDriver::get();
  Held asked;
  asked.memory_bytes = bytes;  // whole granules, or the driver refuses
  if (about != nullptr && about->location.type == CU_MEM_LOCATION_TYPE_DEVICE) {
    asked.device = about->location.id;
  }
  Claim claim(meter, asked);
  if (!claim.is_granted()) return CUDA_ERROR_OUT_OF_MEMORY;
  auto virtual_memory = meter.virtual_memory().lock();
  CUresult done = meter.real().cuMemCreate(handle, bytes, about, flags);
  if (done != CUDA_SUCCESS) return done;
  claim.release();
  auto memory = std::make_shared<LedgerDriver::Physical>();
  memory->held = asked;
  virtual_memory->handles[*handle] = {std::move(memory), 1};
  return done;
}

CUresult cuMemRelease(CUmemGenericAllocationHandle handle) {
  LedgerDriver& meter = LedgerDriver::get();
  auto virtual_memory = meter.virtual_memory().lock();
  CUresult done = meter.real().cuMemRelease(handle);
  auto found = virtual_memory->handles.find(handle);
  if (done != CUDA_SUCCESS || found == virtual_memory->handles.end()) return done;
  if (--found->second.count == 0) virtual_memory->handles.erase(found);
  return done;
}

CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle* handle, void* at) {
  LedgerDriver& meter = LedgerDriver::get();
  auto virtual_memory = meter.virtual_memory().lock();
  CUresult done = meter.real().cuMemRetainAllocationHandle(handle, at);
  if (done != CUDA_SUCCESS) return done;
  // A driver may call it by the same number or by another one.
  auto mapping = virtual_memory->mappings.upper_bound(reinterpret_cast<CUdeviceptr>(at));
  if (mapping == virtual_memory->mappings.begin()) return done;
  --mapping;
  auto& handles = virtual_memory->handles[*handle];
  if (handles.memory == nullptr) handles.memory = mapping->second.memory;
  ++handles.count;
  return done;
}

CUresult cuMemMap(CUdeviceptr at, std::size_t bytes, std::size_t offset,
                  CUmemGenericAllocationHandle handle, unsigned long long flags) {
  LedgerDriver& meter = LedgerDriver::get();
  auto virtual_memory = meter.virtual_memory().lock();
  CUresult done = meter.real().cuMemMap(at, bytes, offset, handle, flags);
  auto found = virtual_memory->handles.find(handle);
  if (done != CUDA_SUCCESS || found == virtual_memory->handles.end()) return done;
  virtual_memory->mappings[at] = {bytes, found->second.memory};
  return done;
}

CUresult cuMemUnmap(CUdeviceptr at, std::size_t bytes) {
  LedgerDriver& meter = LedgerDriver::get();
  auto virtual_memory = meter.virtual_memory().lock();
  CUresult done = meter.real().cuMemUnmap(at, bytes);
  if (done != CUDA_SUCCESS) return done;
  auto& mappings = virtual_memory->mappings;
  for (auto each = mappings.lower_bound(at); each != mappings.end() && each->first - at < bytes;) {
    each = mappings.erase(each);
  }
  return done;
}

}  // namespace metered
}  // namespace farcall::server
