// Allocations of their own: plain, pitched, managed, arrays; and what there is in all.
#include <algorithm>

#include "gpu_server/ledger_driver.h"

namespace farcall::server {
namespace {

// What is made in the current context.
Held piece(const LedgerDriver& meter, std::uint64_t bytes) {
  Held held;
  held.context = meter.context();
  held.device = meter.device();
  held.memory_bytes = bytes;
  return held;
}

std::uint64_t product(std::uint64_t a, std::uint64_t b) {
  std::uint64_t all = 0;
  return __builtin_mul_overflow(a, b, &all) ? UINT64_MAX : all;
}

std::uint64_t whole(std::uint64_t number, std::uint64_t step) {
  return number > UINT64_MAX - step ? UINT64_MAX : (number + step - 1) / step * step;
}

// The pitch a driver chooses is a multiple of 512 at most, as far as is known; another is charged
// for afterwards.
constexpr std::uint64_t kPitchStep = 512;

// Gives back what was charged for an object, provided the driver lets it go. Taken out first: the
// moment the driver has it back, another thread may be given the same address.
template <class Free>
CUresult free_held(HeldKind kind, std::uint64_t name, const Free& free) {
  LedgerDriver& meter = LedgerDriver::get();
  std::optional<Held> held = meter.take(kind, name);
  CUresult done = free(meter.real());
  if (held && done == CUDA_SUCCESS) meter.give_back(*held);
  if (held && done != CUDA_SUCCESS) meter.keep(kind, name, *held);
  return done;
}

std::uint64_t texel_bytes(CUarray_format format) {
  switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8: return 1;
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF: return 2;
    case CU_AD_FORMAT_UNSIGNED_INT32:
    case CU_AD_FORMAT_SIGNED_INT32:
    case CU_AD_FORMAT_FLOAT: return 4;
    default: return 16;  // block-compressed and planar ones take less
  }
}

// Arrays are kept in tiles of 64 bytes by 8 rows.
constexpr std::uint64_t kTileBytes = 64;
constexpr std::uint64_t kTileRows = 8;

std::uint64_t array_bytes(const CUDA_ARRAY3D_DESCRIPTOR& d) {
  const std::uint64_t row = whole(
      product(product(d.Width, texel_bytes(d.Format)), std::max(1u, d.NumChannels)), kTileBytes);
  const std::uint64_t height = d.Height == 0 ? 1 : whole(d.Height, kTileRows);
  return charged_bytes(product(product(row, height), std::max<std::uint64_t>(1, d.Depth)));
}

CUDA_ARRAY3D_DESCRIPTOR flat(const CUDA_ARRAY_DESCRIPTOR& d) {
  CUDA_ARRAY3D_DESCRIPTOR as{};
  as.Width = d.Width;
  as.Height = d.Height;
  as.Format = d.Format;
  as.NumChannels = d.NumChannels;
  return as;
}

std::uint64_t mipmap_bytes(CUDA_ARRAY3D_DESCRIPTOR level, unsigned levels) {
  constexpr unsigned kLevelsMax = 64;  // of 2^63 texels a side, more than any driver makes
  std::uint64_t all = 0;
  const bool layered = (level.Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP)) != 0;
  for (unsigned i = 0; i < std::min(levels, kLevelsMax); ++i) {
    if (__builtin_add_overflow(all, array_bytes(level), &all)) return UINT64_MAX;
    level.Width = std::max<std::size_t>(1, level.Width / 2);
    if (level.Height > 1) level.Height /= 2;
    if (level.Depth > 1 && !layered) level.Depth /= 2;
  }
  return all;
}

}  // namespace

namespace metered {

CUresult cuMemAlloc_v2(CUdeviceptr* at, std::size_t bytes) {
  LedgerDriver& meter = LedgerDriver::get();
  Claim claim(meter, piece(meter, charged_bytes(bytes)));
  if (!claim.is_granted()) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult done = meter.real().cuMemAlloc_v2(at, bytes);
  if (done == CUDA_SUCCESS) claim.keep(HeldKind::kPlain, *at);
  return done;
}

CUresult cuMemAllocManaged(CUdeviceptr* at, std::size_t bytes, unsigned flags) {
  LedgerDriver& meter = LedgerDriver::get();
  Claim claim(meter, piece(meter, charged_bytes(bytes)));
  if (!claim.is_granted()) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult done = meter.real().cuMemAllocManaged(at, bytes, flags);
  if (done == CUDA_SUCCESS) claim.keep(HeldKind::kPlain, *at);
  return done;
}

CUresult cuMemAllocPitch_v2(CUdeviceptr* at, std::size_t* pitch, std::size_t width,
                            std::size_t height, unsigned element_bytes) {
  LedgerDriver& meter = LedgerDriver::get();
  Held asked = piece(meter, charged_bytes(product(whole(width, kPitchStep), height)));
  Claim claim(meter, asked);
  if (!claim.is_granted()) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult done = meter.real().cuMemAllocPitch_v2(at, pitch, width, height, element_bytes);
  if (done != CUDA_SUCCESS) return done;
  const std::uint64_t got = charged_bytes(product(*pitch, height));
  const Place place{Account::kMemory, asked.device};
  if (got > asked.memory_bytes) meter.ledger().charge_anyway(place, got - asked.memory_bytes);
  if (got < asked.memory_bytes) meter.ledger().give_back(place, asked.memory_bytes - got);
  asked.memory_bytes = got;
  claim.release();
  meter.keep(HeldKind::kPlain, *at, asked);
  return done;
}

CUresult cuMemFree_v2(CUdeviceptr at) {
  LedgerDriver& meter = LedgerDriver::get();
  if (std::optional<Held> plain = meter.take(HeldKind::kPlain, at)) {
    CUresult done = meter.real().cuMemFree_v2(at);
    if (done == CUDA_SUCCESS) meter.give_back(*plain);
    if (done != CUDA_SUCCESS) meter.keep(HeldKind::kPlain, at, *plain);
    return done;
  }
  return meter.free_to_pool(at, false, nullptr);
}

CUresult cuArray3DCreate_v2(CUarray* array, const CUDA_ARRAY3D_DESCRIPTOR* about) {
  LedgerDriver& meter = LedgerDriver::get();
  if (about == nullptr) return meter.real().cuArray3DCreate_v2(array, about);
  Claim claim(meter, piece(meter, array_bytes(*about)));
  if (!claim.is_granted()) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult done = meter.real().cuArray3DCreate_v2(array, about);
  if (done == CUDA_SUCCESS) claim.keep(HeldKind::kArray, name_of(*array));
  return done;
}

CUresult cuArrayCreate_v2(CUarray* array, const CUDA_ARRAY_DESCRIPTOR* about) {
  LedgerDriver& meter = LedgerDriver::get();
  if (about == nullptr) return meter.real().cuArrayCreate_v2(array, about);
  Claim claim(meter, piece(meter, array_bytes(flat(*about))));
  if (!claim.is_granted()) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult done = meter.real().cuArrayCreate_v2(array, about);
  if (done == CUDA_SUCCESS) claim.keep(HeldKind::kArray, name_of(*array));
  return done;
}

CUresult cuMipmappedArrayCreate(CUmipmappedArray* array, const CUDA_ARRAY3D_DESCRIPTOR* about,
                                unsigned levels) {
  LedgerDriver& meter = LedgerDriver::get();
  if (about == nullptr) return meter.real().cuMipmappedArrayCreate(array, about, levels);
  Claim claim(meter, piece(meter, mipmap_bytes(*about, levels)));
  if (!claim.is_granted()) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult done = meter.real().cuMipmappedArrayCreate(array, about, levels);
  if (done == CUDA_SUCCESS) claim.keep(HeldKind::kArray, name_of(*array));
  return done;
}

CUresult cuArrayDestroy(CUarray array) {
  return free_held(HeldKind::kArray, name_of(array),
                   [&](const api::Driver& real) { return real.cuArrayDestroy(array); });
}

CUresult cuMipmappedArrayDestroy(CUmipmappedArray array) {
  return free_held(HeldKind::kArray, name_of(array),
                   [&](const api::Driver& real) { return real.cuMipmappedArrayDestroy(array); });
}

// The driver is asked all the same: it says whether there is a context at all.
CUresult cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
  LedgerDriver& meter = LedgerDriver::get();
  CUresult done = meter.real().cuMemGetInfo_v2(free, total);
  if (done != CUDA_SUCCESS || !meter.has_memory_limit()) return done;
  meter.settle(false);
  const std::uint64_t most = meter.ledger().limits().memory_bytes;
  const std::uint64_t held = meter.ledger().held({Account::kMemory, meter.device()});
  *total = std::min<std::size_t>(*total, most);
  *free = *total - std::min<std::size_t>(*total, held);
  return done;
}

CUresult cuDeviceTotalMem_v2(std::size_t* bytes, CUdevice device) {
  LedgerDriver& meter = LedgerDriver::get();
  CUresult done = meter.real().cuDeviceTotalMem_v2(bytes, device);
  if (done != CUDA_SUCCESS || !meter.has_memory_limit()) return done;
  *bytes = std::min<std::size_t>(*bytes, meter.ledger().limits().memory_bytes);
  return done;
}

}  // namespace metered
}  // namespace farcall::server
