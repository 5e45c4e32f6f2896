#include "gpu_server/scrub.h"

#include <algorithm>
#include <cstring>

#include "transport/base/clock.h"
#include "transport/base/limits_wipe.h"
#include "transport/base/log.h"
#include "transport/cuda/wiped_memory.h"

namespace farcall::server {
namespace {

bool is_zero(std::span<const std::byte> bytes) {
  return bytes.empty() || (bytes[0] == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

}  // namespace

Result<Scrub::Mode> Scrub::parse(const std::string& word) {
  for (Mode mode : {Mode::kOff, Mode::kFree, Mode::kVerify}) {
    if (word == name_of(mode)) return mode;
  }
  return Status(Code::kUnsupported, "it is off, free or verify, not \"" + word + "\"");
}

const char* Scrub::name_of(Mode mode) {
  return mode == Mode::kOff ? "off" : mode == Mode::kFree ? "free" : "verify";
}

Scrub*& Scrub::self() {
  static Scrub* the_one = nullptr;
  return the_one;
}

Scrub::Scrub(const api::Driver& driver, Mode mode) : real_(driver), mode_(mode), wrapped_(driver) {
  self() = this;
  if (mode == Mode::kOff) return;
  const bool by_driver = ask_driver();
  books_.lock()->by_driver = by_driver;
  if (!by_driver) wrap_frees();
  wrap_contexts();
}

Scrub::~Scrub() { self() = nullptr; }

bool Scrub::ask_driver() {
  const void* found = nullptr;
  if (real_.cuGetExportTable == nullptr ||
      real_.cuGetExportTable(&found, &cuda::kWipedMemoryId) != CUDA_SUCCESS) {
    return false;
  }
  auto* table = static_cast<const cuda::WipedMemory*>(found);
  if (table == nullptr || table->table_bytes < sizeof(cuda::WipedMemory)) return false;
  table->wipe_freed(true);
  return true;
}

void Scrub::wrap_frees() {
  if (real_.cuMemsetD8_v2 == nullptr || real_.cuCtxSynchronize == nullptr) return;
  if (real_.cuMemFree_v2 != nullptr) wrapped_.cuMemFree_v2 = free;
  if (real_.cuMemFreeAsync != nullptr && real_.cuMemsetD8Async != nullptr) {
    wrapped_.cuMemFreeAsync = free_async;
  }
}

void Scrub::wrap_contexts() {
  if (real_.cuMemAlloc_v2 != nullptr) wrapped_.cuMemAlloc_v2 = allocate;
  if (real_.cuMemAllocPitch_v2 != nullptr) wrapped_.cuMemAllocPitch_v2 = allocate_pitch;
  if (real_.cuMemAllocManaged != nullptr) wrapped_.cuMemAllocManaged = allocate_managed;
  if (real_.cuMemAllocAsync != nullptr) wrapped_.cuMemAllocAsync = allocate_async;
  if (real_.cuMemAllocFromPoolAsync != nullptr) {
    wrapped_.cuMemAllocFromPoolAsync = allocate_from_pool;
  }
  if (wrapped_.cuMemFree_v2 == real_.cuMemFree_v2 && real_.cuMemFree_v2 != nullptr) {
    wrapped_.cuMemFree_v2 = [](CUdeviceptr address) {
      (void)self()->take(address);
      return self()->real_.cuMemFree_v2(address);
    };
  }
  if (wrapped_.cuMemFreeAsync == real_.cuMemFreeAsync && real_.cuMemFreeAsync != nullptr) {
    wrapped_.cuMemFreeAsync = [](CUdeviceptr address, CUstream stream) {
      (void)self()->take(address);
      return self()->real_.cuMemFreeAsync(address, stream);
    };
  }
  if (real_.cuCtxPushCurrent_v2 == nullptr || real_.cuCtxPopCurrent_v2 == nullptr) return;
  if (real_.cuCtxDestroy_v2 != nullptr) wrapped_.cuCtxDestroy_v2 = destroy;
  if (real_.cuDevicePrimaryCtxRetain == nullptr) return;
  wrapped_.cuDevicePrimaryCtxRetain = retain;
  if (real_.cuDevicePrimaryCtxRelease_v2 != nullptr) {
    wrapped_.cuDevicePrimaryCtxRelease_v2 = release;
  }
  if (real_.cuDevicePrimaryCtxReset_v2 != nullptr) wrapped_.cuDevicePrimaryCtxReset_v2 = reset;
}

void Scrub::note(CUresult made, const CUdeviceptr* address, std::size_t bytes) {
  if (made != CUDA_SUCCESS || address == nullptr) return;
  Allocation allocation{bytes, nullptr};
  if (real_.cuCtxGetCurrent != nullptr) (void)real_.cuCtxGetCurrent(&allocation.context);
  keep(*address, allocation);
}

void Scrub::keep(CUdeviceptr address, const Allocation& allocation) {
  memory_.lock()->allocations[address] = allocation;
}

Scrub::Allocation Scrub::take(CUdeviceptr address) {
  auto memory = memory_.lock();
  auto found = memory->allocations.find(address);
  if (found == memory->allocations.end()) return {};
  Allocation allocation = found->second;
  memory->allocations.erase(found);
  return allocation;
}

void Scrub::count(CUresult done, std::size_t bytes) {
  auto books = books_.lock();
  if (done != CUDA_SUCCESS) {
    ++books->failures;
    return;
  }
  ++books->freed;
  books->freed_bytes += bytes;
}

// --- what stands in the driver's table
// ------------------------------------------------------------

CUresult Scrub::allocate(CUdeviceptr* address, std::size_t bytes) {
  const CUresult made = self()->real_.cuMemAlloc_v2(address, bytes);
  self()->note(made, address, bytes);
  return made;
}

CUresult Scrub::allocate_pitch(CUdeviceptr* address, std::size_t* pitch, std::size_t width,
                               std::size_t height, unsigned element) {
  const CUresult made = self()->real_.cuMemAllocPitch_v2(address, pitch, width, height, element);
  if (made == CUDA_SUCCESS) self()->note(made, address, *pitch * height);
  return made;
}

CUresult Scrub::allocate_managed(CUdeviceptr* address, std::size_t bytes, unsigned flags) {
  const CUresult made = self()->real_.cuMemAllocManaged(address, bytes, flags);
  self()->note(made, address, bytes);
  return made;
}

CUresult Scrub::allocate_async(CUdeviceptr* address, std::size_t bytes, CUstream stream) {
  const CUresult made = self()->real_.cuMemAllocAsync(address, bytes, stream);
  self()->note(made, address, bytes);
  return made;
}

CUresult Scrub::allocate_from_pool(CUdeviceptr* address, std::size_t bytes, CUmemoryPool pool,
                                   CUstream stream) {
  const CUresult made = self()->real_.cuMemAllocFromPoolAsync(address, bytes, pool, stream);
  self()->note(made, address, bytes);
  return made;
}

// The driver would wait for the device, too.
CUresult Scrub::free(CUdeviceptr address) {
  Scrub& scrub = *self();
  const Allocation allocation = scrub.take(address);
  CUresult done = CUDA_SUCCESS;
  if (allocation.bytes != 0) {
    done = scrub.real_.cuCtxSynchronize();
    if (done == CUDA_SUCCESS) done = scrub.overwrite(address, allocation.bytes);
  }
  const CUresult freed = scrub.real_.cuMemFree_v2(address);
  if (allocation.bytes == 0) return freed;
  if (freed != CUDA_SUCCESS) scrub.keep(address, allocation);
  scrub.count(done, allocation.bytes);
  return freed;
}

CUresult Scrub::free_async(CUdeviceptr address, CUstream stream) {
  Scrub& scrub = *self();
  const Allocation allocation = scrub.take(address);
  CUresult done = CUDA_SUCCESS;
  if (allocation.bytes != 0) {
    done = scrub.real_.cuMemsetD8Async(address, 0, allocation.bytes, stream);
  }
  const CUresult freed = scrub.real_.cuMemFreeAsync(address, stream);
  if (allocation.bytes == 0) return freed;
  if (freed != CUDA_SUCCESS) scrub.keep(address, allocation);
  scrub.count(done, allocation.bytes);
  return freed;
}

CUresult Scrub::retain(CUcontext* context, CUdevice device) {
  const CUresult done = self()->real_.cuDevicePrimaryCtxRetain(context, device);
  if (done == CUDA_SUCCESS) self()->memory_.lock()->primary[device] = *context;
  return done;
}

CUresult Scrub::release(CUdevice device) {
  self()->scrub_primary(device);
  return self()->real_.cuDevicePrimaryCtxRelease_v2(device);
}

CUresult Scrub::reset(CUdevice device) {
  self()->scrub_primary(device);
  return self()->real_.cuDevicePrimaryCtxReset_v2(device);
}

CUresult Scrub::destroy(CUcontext context) {
  self()->scrub_context(context);
  return self()->real_.cuCtxDestroy_v2(context);
}

// --- the end of a context
// -------------------------------------------------------------------------

void Scrub::scrub_primary(CUdevice device) {
  CUcontext context = nullptr;
  {
    auto memory = memory_.lock();
    auto found = memory->primary.find(device);
    if (found != memory->primary.end()) context = found->second;
  }
  if (context != nullptr) scrub_context(context);
}

void Scrub::scrub_context(CUcontext context) {
  std::map<CUdeviceptr, std::size_t> left;
  {
    auto memory = memory_.lock();
    std::erase_if(memory->allocations, [&](const auto& each) {
      if (each.second.context != context) return false;
      left[each.first] = each.second.bytes;
      return true;
    });
  }
  if (left.empty()) return;
  const Deadline deadline = Deadline::after(system_clock(), limits::kVerifyMs);
  if (real_.cuCtxPushCurrent_v2(context) != CUDA_SUCCESS) {
    books_.lock()->failures += left.size();
    return;
  }
  if (real_.cuCtxSynchronize != nullptr) (void)real_.cuCtxSynchronize();
  for (const auto& [address, bytes] : left) scrub_left(address, bytes, deadline);
  CUcontext popped = nullptr;
  (void)real_.cuCtxPopCurrent_v2(&popped);
}

void Scrub::scrub_left(CUdeviceptr address, std::size_t bytes, Deadline deadline) {
  const CUresult done = overwrite(address, bytes);
  std::int64_t verified = 0;
  if (done == CUDA_SUCCESS && mode_ == Mode::kVerify) {
    verified = read_back(address, bytes, deadline);
  }
  auto books = books_.lock();
  ++books->left;
  if (done != CUDA_SUCCESS || verified < 0) {
    ++books->failures;
    return;
  }
  books->left_bytes += bytes;
  books->verified_bytes += static_cast<std::uint64_t>(verified);
  if (mode_ == Mode::kVerify) books->unread_bytes += bytes - static_cast<std::uint64_t>(verified);
}

CUresult Scrub::overwrite(CUdeviceptr address, std::size_t bytes) {
  if (real_.cuMemsetD8_v2 == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  CUresult done = CUDA_SUCCESS;
  for (std::size_t at = 0; at < bytes && done == CUDA_SUCCESS; at += limits::kScrubPieceBytes) {
    const std::size_t piece = std::min(bytes - at, limits::kScrubPieceBytes);
    done = real_.cuMemsetD8_v2(address + at, 0, piece);
    if (done == CUDA_SUCCESS && real_.cuCtxSynchronize != nullptr) done = real_.cuCtxSynchronize();
    steps_.fetch_add(1, std::memory_order_relaxed);
  }
  return done;
}

std::int64_t Scrub::read_back(CUdeviceptr address, std::size_t bytes, Deadline deadline) {
  if (real_.cuMemcpyDtoH_v2 == nullptr) return 0;
  auto room = SecureBuffer::make(std::min(bytes, limits::kVerifyPieceBytes));
  if (!room.ok()) return 0;
  std::size_t done = 0;
  while (done < bytes && !deadline.passed()) {
    auto piece = room.value().bytes().first(std::min(bytes - done, room.value().size()));
    std::memset(piece.data(), 0xff, piece.size());
    if (real_.cuMemcpyDtoH_v2(piece.data(), address + done, piece.size()) != CUDA_SUCCESS) {
      return -1;
    }
    if (!is_zero(piece)) return -1;
    done += piece.size();
    steps_.fetch_add(1, std::memory_order_relaxed);
  }
  return static_cast<std::int64_t>(done);
}

std::string Scrub::Outcome::to_text() const {
  std::string text = by_driver ? "freed memory overwritten by the driver"
                               : std::to_string(freed) + " allocations (" +
                                     std::to_string(freed_bytes) + " bytes) overwritten as freed";
  text += ", " + std::to_string(left) + " left to the end (" + std::to_string(left_bytes) +
          " bytes overwritten, " + std::to_string(verified_bytes) + " read back as zeros";
  if (unread_bytes != 0) text += ", " + std::to_string(unread_bytes) + " not read back in time";
  return text + "), " + std::to_string(failures) + " failures";
}

}  // namespace farcall::server
