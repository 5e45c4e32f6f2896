// The part of Mirrors that moves bytes and changes rights: on the pager's thread alone.
#include <sys/mman.h>

#include <algorithm>

#include "client_shim/client.h"
#include "client_shim/copy.h"
#include "client_shim/mirrors.h"
#include "transport/api/client_call.h"
#include "transport/base/log.h"

namespace farcall::shim {
namespace row = api::row;

int Mirrors::page_rights(PageState state) {
  switch (state) {
    case PageState::kDevice: return PROT_NONE;
    case PageState::kBoth: return PROT_READ;
    default: return PROT_READ | PROT_WRITE;
  }
}

CUresult Mirrors::touched(std::uint64_t address, bool is_write) {
  std::shared_ptr<Mirror> mirror;
  {
    auto all = all_.lock();
    auto after = all->upper_bound(address);
    if (after == all->begin()) return CUDA_ERROR_NOT_FOUND;
    mirror = std::prev(after)->second;
  }
  const std::uint64_t at = address - mirror->place.address;
  if (at >= whole_pages(mirror->place.bytes)) return CUDA_ERROR_NOT_FOUND;
  // The last page may go on behind the last byte.
  const std::size_t offset = std::min<std::size_t>(at, mirror->place.bytes - 1);
  const PageStates::Need need = mirror->states.touch(offset, is_write);
  if (need.run.bytes > 0) return open(*mirror, need);
  // Another thread's touch has been here, or pages and states came apart: the states are right.
  const std::size_t block = offset / kMirrorBlockBytes * kMirrorBlockBytes;
  show(*mirror, block, std::min(kMirrorBlockBytes, mirror->place.bytes - block));
  return CUDA_SUCCESS;
}

// Makes the program's rights to these bytes what their states say.
void Mirrors::show(const Mirror& mirror, std::size_t at, std::size_t bytes) {
  constexpr std::size_t kBlock = kMirrorBlockBytes;
  const std::size_t end = std::min(at + bytes, mirror.place.bytes);
  for (std::size_t first = at / kBlock * kBlock; first < end;) {
    const PageState state = mirror.states.at(first);
    std::size_t next = first + kBlock;
    while (next < end && mirror.states.at(next) == state) next += kBlock;
    next = std::min(next, mirror.place.bytes);
    if (!mirror.memory.protect(first, next - first, page_rights(state))) {
      FARCALL_LOG_WARN("managed memory: no more mappings");
    }
    first = next;
  }
}

CUresult Mirrors::open(Mirror& mirror, const PageStates::Need& need) {
  if (need.fetch) {
    if (CUresult filled = fill(mirror, need.run); filled != CUDA_SUCCESS) {
      FARCALL_LOG_ERROR("a page of managed memory could not be fetched: error %d", filled);
      return filled;
    }
    if (launches_.load(std::memory_order_acquire) != settled_.load(std::memory_order_acquire)) {
      mirror.is_early = true;
      any_early_.store(true, std::memory_order_release);
    }
  }
  const int protection = need.is_write ? PROT_READ | PROT_WRITE : PROT_READ;
  if (!mirror.memory.protect(need.run.at, need.run.bytes, protection)) {
    FARCALL_LOG_ERROR("managed memory: no more mappings");
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  HeldCount count(*this, mirror);
  mirror.states.opened(need);
  return CUDA_SUCCESS;
}

// This thread's context becomes the mirror's; in it, a stream that waits for no other.
CUresult Mirrors::enter(CUcontext context, CUstream* stream) {
  client_.this_thread().stack.assign(1, context);
  auto known = streams_.find(context);
  if (known != streams_.end()) {
    *stream = known->second;
    return CUDA_SUCCESS;
  }
  CUresult made = api::call<row::cuStreamCreate>(stream, CU_STREAM_NON_BLOCKING);
  if (made == CUDA_SUCCESS) streams_[context] = *stream;
  return made;
}

CUresult Mirrors::fill(Mirror& mirror, const PageStates::Run& run) {
  CUstream stream = nullptr;
  CUresult entered = enter(mirror.place.context, &stream);
  if (entered != CUDA_SUCCESS) return entered;
  void* to = mirror.memory.ours().data() + run.at;
  return receive(client_, {mirror.place.device + run.at, to, run.bytes, stream, true});
}

CUresult Mirrors::send(Mirror& mirror, std::size_t at, std::size_t bytes, CUstream stream) {
  void* from = mirror.memory.ours().data() + at;
  return send_known(client_, {mirror.place.device + at, from, bytes, stream, true});
}

// What the device has not is on it when this returns, whatever its streams are doing.
CUresult Mirrors::flush(Mirror& mirror, std::size_t at, std::size_t bytes) {
  const auto dirty = mirror.states.dirty(at, bytes);
  if (dirty.empty()) return CUDA_SUCCESS;
  CUstream stream = nullptr;
  CUresult result = enter(mirror.place.context, &stream);
  bool any = false;
  for (const auto& run : dirty) {
    auto parts = run.is_fresh ? mirror.memory.touched(run.at, run.bytes)
                              : std::vector<MirrorMemory::Part>{{run.at, run.bytes}};
    for (const auto& part : parts) {
      if (result == CUDA_SUCCESS) result = send(mirror, part.at, part.bytes, stream);
      any = true;
    }
  }
  if (result != CUDA_SUCCESS || !any) return result;
  return api::call<row::cuStreamSynchronize>(stream);
}

CUresult Mirrors::hand_over(Mirror& mirror, std::size_t at, std::size_t bytes, bool writes) {
  // Closed first: what another thread writes now, it writes afterwards.
  constexpr std::size_t kBlock = kMirrorBlockBytes;
  const std::size_t first = at / kBlock * kBlock;
  const std::size_t end = std::min((at + bytes + kBlock - 1) / kBlock * kBlock, mirror.place.bytes);
  bool closed = true;
  if (writes) closed = mirror.memory.protect(first, end - first, PROT_NONE);
  for (const auto& run : mirror.states.dirty(at, bytes)) {
    if (!writes) closed = closed && mirror.memory.protect(run.at, run.bytes, PROT_READ);
  }
  CUresult flushed = closed ? flush(mirror, at, bytes) : CUDA_ERROR_OUT_OF_MEMORY;
  if (flushed != CUDA_SUCCESS) {
    show(mirror, first, end - first);
    return flushed;
  }
  HeldCount count(*this, mirror);
  if (writes) {
    mirror.states.lent(at, bytes);
  } else {
    mirror.states.shared(at, bytes);
  }
  return CUDA_SUCCESS;
}

}  // namespace farcall::shim
