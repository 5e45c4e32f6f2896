// Stream-ordered memory. A pool holds on to what was freed, up to a threshold that its owner
// chooses, and what was freed behind work that still runs is not free yet: so what counts is not
// what was handed out but what the pool says it has taken from the device.
#include "gpu_server/ledger_driver.h"

namespace farcall::server {
namespace {

// From here on it is looked whether streams have got to them.
constexpr std::size_t kFreedLaterMany = 64;

bool reserved_by(const api::Driver& real, CUmemoryPool pool, std::uint64_t* bytes) {
  cuuint64_t told = 0;
  if (real.cuMemPoolGetAttribute == nullptr ||
      real.cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, &told) !=
          CUDA_SUCCESS) {
    return false;
  }
  *bytes = told;
  return true;
}

// The pool that cuMemAllocAsync takes from: of the stream's device.
PoolRequest pool_of(const LedgerDriver& meter, CUstream stream, std::uint64_t bytes) {
  const api::Driver& real = meter.real();
  PoolRequest request;
  request.device = meter.device();
  request.bytes = bytes;
  CUdevice device = 0;
  if (stream != nullptr && real.cuStreamGetDevice != nullptr &&
      real.cuStreamGetDevice(stream, &device) == CUDA_SUCCESS) {
    request.device = device;
  }
  if (real.cuDeviceGetMemPool != nullptr) {
    (void)real.cuDeviceGetMemPool(&request.pool, request.device);
  }
  return request;
}

}  // namespace

void LedgerDriver::settle_pool(CUmemoryPool name, Pool& pool, std::uint64_t claimed) {
  std::uint64_t now = pool.live;  // where a driver does not tell
  (void)reserved_by(real_, name, &now);
  const Place place{Account::kMemory, pool.device};
  const std::uint64_t was = pool.charged + claimed;
  if (now > was) ledger_.charge_anyway(place, now - was);
  if (now < was) ledger_.give_back(place, was - now);
  pool.charged = now;
}

void LedgerDriver::settle_pools() {
  auto pools = pools_.lock();
  for (auto& [name, pool] : pools->pools) settle_pool(name, pool, 0);
}

CUresult LedgerDriver::allocate_from_pool(const PoolRequest& request, CUdeviceptr* at,
                                          FunctionRef<CUresult()> make) {
  Held asked;
  asked.device = request.device;
  asked.memory_bytes = charged_bytes(request.bytes);
  Claim claim(*this, asked);
  if (!claim.is_granted()) return CUDA_ERROR_OUT_OF_MEMORY;
  if (CUresult done = make(); done != CUDA_SUCCESS) return done;
  claim.release();
  auto pools = pools_.lock();
  pools->pieces[*at] = {request.pool, asked.memory_bytes, asked.device};
  Pool& pool = pools->pools[request.pool];
  pool.device = asked.device;
  pool.live += asked.memory_bytes;
  settle_pool(request.pool, pool, asked.memory_bytes);
  return CUDA_SUCCESS;
}

CUresult LedgerDriver::free_to_pool(CUdeviceptr at, bool later, CUstream stream) {
  std::optional<PoolPiece> piece;
  {
    auto pools = pools_.lock();
    auto found = pools->pieces.find(at);
    if (found != pools->pieces.end()) piece = found->second;
    if (piece) pools->pieces.erase(found);
  }
  CUresult done = later ? real_.cuMemFreeAsync(at, stream) : real_.cuMemFree_v2(at);
  if (!piece) return done;  // a graph's, or nobody's
  auto pools = pools_.lock();
  if (done != CUDA_SUCCESS) {
    pools->pieces[at] = *piece;
    return done;
  }
  auto owner = pools->pools.find(piece->pool);
  if (owner != pools->pools.end()) {
    owner->second.live -= std::min(owner->second.live, piece->bytes);
    settle_pool(owner->first, owner->second, 0);
    return done;
  }
  Held orphan;
  orphan.device = piece->device;
  orphan.memory_bytes = piece->bytes;
  if (later) free_later(orphan, stream);
  if (!later) give_back(orphan);
  return done;
}

// What was handed out lives on, and is charged by the piece from here on.
void LedgerDriver::pool_destroyed(CUmemoryPool name) {
  auto pools = pools_.lock();
  auto found = pools->pools.find(name);
  if (found == pools->pools.end()) return;
  const Pool pool = found->second;
  const Place place{Account::kMemory, pool.device};
  if (pool.live > pool.charged) ledger_.charge_anyway(place, pool.live - pool.charged);
  if (pool.live < pool.charged) ledger_.give_back(place, pool.charged - pool.live);
  pools->pools.erase(found);
  for (auto& [at, piece] : pools->pieces) {
    if (piece.pool == name) piece.pool = nullptr;
  }
}

void LedgerDriver::free_later(const Held& held, CUstream stream) {
  FreedLater freed{held, nullptr};
  const bool marked = real_.cuEventCreate != nullptr && real_.cuEventRecord != nullptr &&
                      real_.cuEventQuery != nullptr &&
                      real_.cuEventCreate(&freed.done, CU_EVENT_DISABLE_TIMING) == CUDA_SUCCESS &&
                      real_.cuEventRecord(freed.done, stream) == CUDA_SUCCESS;
  if (!marked) {  // nothing tells when: wait for it
    if (real_.cuStreamSynchronize != nullptr) (void)real_.cuStreamSynchronize(stream);
    if (freed.done != nullptr && real_.cuEventDestroy_v2) (void)real_.cuEventDestroy_v2(freed.done);
    return give_back(held);
  }
  bool many = false;
  {
    auto all = freed_later_.lock();
    all->push_back(freed);
    many = all->size() >= kFreedLaterMany;
  }
  if (many) settle_freed();
}

void LedgerDriver::settle_freed() {
  auto all = freed_later_.lock();
  std::erase_if(*all, [&](const FreedLater& freed) {
    // Any other answer means that event and memory are gone with their context.
    if (real_.cuEventQuery(freed.done) == CUDA_ERROR_NOT_READY) return false;
    if (real_.cuEventDestroy_v2 != nullptr) (void)real_.cuEventDestroy_v2(freed.done);
    give_back(freed.held);
    return true;
  });
}

namespace metered {

CUresult cuMemAllocAsync(CUdeviceptr* at, std::size_t bytes, CUstream stream) {
  LedgerDriver& meter = LedgerDriver::get();
  auto make = [&] { return meter.real().cuMemAllocAsync(at, bytes, stream); };
  if (meter.is_capturing(stream)) {  // a node: it allocates when its graph is launched
    meter.note_graph_memory();
    return make();
  }
  return meter.allocate_from_pool(pool_of(meter, stream, bytes), at, make);
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr* at, std::size_t bytes, CUmemoryPool pool,
                                 CUstream stream) {
  LedgerDriver& meter = LedgerDriver::get();
  auto make = [&] { return meter.real().cuMemAllocFromPoolAsync(at, bytes, pool, stream); };
  if (meter.is_capturing(stream)) {
    meter.note_graph_memory();
    return make();
  }
  PoolRequest request = pool_of(meter, stream, bytes);
  request.pool = pool;
  return meter.allocate_from_pool(request, at, make);
}

CUresult cuMemFreeAsync(CUdeviceptr at, CUstream stream) {
  LedgerDriver& meter = LedgerDriver::get();
  std::optional<Held> plain = meter.take(HeldKind::kPlain, at);
  if (!plain) return meter.free_to_pool(at, true, stream);
  CUresult done = meter.real().cuMemFreeAsync(at, stream);
  if (done == CUDA_SUCCESS) meter.free_later(*plain, stream);
  if (done != CUDA_SUCCESS) meter.keep(HeldKind::kPlain, at, *plain);
  return done;
}

CUresult cuMemPoolDestroy(CUmemoryPool pool) {
  LedgerDriver& meter = LedgerDriver::get();
  meter.settle_pools();
  CUresult done = meter.real().cuMemPoolDestroy(pool);
  if (done == CUDA_SUCCESS) meter.pool_destroyed(pool);
  return done;
}

CUresult cuMemPoolTrimTo(CUmemoryPool pool, std::size_t keep_bytes) {
  LedgerDriver& meter = LedgerDriver::get();
  CUresult done = meter.real().cuMemPoolTrimTo(pool, keep_bytes);
  meter.settle_pools();
  return done;
}

}  // namespace metered
}  // namespace farcall::server
