#include "client_shim/mirrors.h"

#include <algorithm>

#include "client_shim/client.h"
#include "client_shim/process.h"
#include "transport/api/rows.h"
#include "transport/base/log.h"

namespace farcall::shim {
namespace row = api::row;

namespace {

Fault resolve(const void* address, bool is_write) {
  Client* client = current_client();
  if (client == nullptr) return Fault::kNotOurs;
  return client->mirrors().resolve(reinterpret_cast<std::uint64_t>(address), is_write);
}

}  // namespace

Mirrors::Mirrors(Client& client)
    : client_(client),
      pager_([](void* self, std::uint64_t address,
                bool is_write) { return static_cast<Mirrors*>(self)->touched(address, is_write); },
             [](void* self) { return static_cast<Mirrors*>(self)->client_.begin_own_thread(); },
             this) {}

Fault Mirrors::resolve(std::uint64_t address, bool is_write) {
  if (address < lowest_.load(std::memory_order_acquire) ||
      address >= highest_.load(std::memory_order_acquire)) {
    return Fault::kNotOurs;
  }
  switch (pager_.touch(address, is_write)) {
    case CUDA_SUCCESS: return Fault::kResolved;
    case CUDA_ERROR_NOT_FOUND: return Fault::kNotOurs;
    default: return Fault::kLost;
  }
}

// --- what there is -------------------------------------------------------------------------------

CUresult Mirrors::start(Guarded<All>::Held& all) {
  static_cast<void>(all);  // held: one thread at a time
  if (store_) return CUDA_SUCCESS;
  auto store = PageStore::create();
  if (!store.ok()) {
    FARCALL_LOG_WARN("managed memory: %s", store.status().to_string().c_str());
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  if (!pager_.start()) return CUDA_ERROR_OUT_OF_MEMORY;
  store_.emplace(std::move(store).value());
  return CUDA_SUCCESS;
}

CUresult Mirrors::place(const Place& place) {
  auto all = all_.lock();
  if (CUresult started = start(all); started != CUDA_SUCCESS) return started;
  const std::uint64_t end = place.address + place.bytes;
  auto pages = MirrorMemory::map(*store_, place.address, place.bytes, page_rights(place.state),
                                 place.replaces);
  if (!pages.ok()) {
    FARCALL_LOG_DEBUG("%zu bytes at %#llx: %s", place.bytes,
                      static_cast<unsigned long long>(place.address),
                      pages.status().to_string().c_str());
    return pages.status().code() == Code::kBusy ? CUDA_ERROR_ALREADY_MAPPED
                                                : CUDA_ERROR_OUT_OF_MEMORY;
  }
  auto mirror = std::make_shared<Mirror>(place, std::move(pages).value());
  if (place.access != Access::kHost) held_.fetch_add(mirror->states.held());
  (*all)[place.address] = std::move(mirror);
  count_.store(all->size(), std::memory_order_relaxed);
  lowest_.store(std::min(lowest_.load(), place.address), std::memory_order_release);
  highest_.store(std::max(highest_.load(), end), std::memory_order_release);
  catch_faults(shim::resolve);
  return CUDA_SUCCESS;
}

template <class Suits>
Mirrors::Some Mirrors::matching(Suits suits) {
  Some some;
  auto all = all_.lock();
  for (const auto& [address, mirror] : *all) {
    if (suits(*mirror)) some.push_back(mirror);
  }
  return some;
}

// The pages go when the last who works with them lets go.
void Mirrors::drop(const Some& gone) {
  for (const auto& mirror : gone) {
    auto all = all_.lock();
    if (all->erase(mirror->place.address) == 0) continue;
    count_.store(all->size(), std::memory_order_relaxed);
    if (mirror->place.access != Access::kHost) held_.fetch_sub(mirror->states.held());
  }
}

void Mirrors::remove(std::uint64_t address) {
  if (!any()) return;
  static_cast<void>(pager_.run([&] {
    drop(matching([&](const Mirror& each) { return each.place.address == address; }));
    return CUDA_SUCCESS;
  }));
}

void Mirrors::drop_owner(std::uint64_t owner) {
  if (!any()) return;
  static_cast<void>(pager_.run([&] {
    drop(matching([&](const Mirror& each) { return owner != 0 && each.place.owner == owner; }));
    return CUDA_SUCCESS;
  }));
}

void Mirrors::drop_context(CUcontext context) {
  if (!any()) return;
  static_cast<void>(pager_.run([&] {
    drop(matching(
        [&](const Mirror& each) { return each.place.context == context && !each.place.is_host; }));
    streams_.erase(context);
    return CUDA_SUCCESS;
  }));
}

CUresult Mirrors::attach(std::uint64_t address, Access access, CUstream stream) {
  return pager_.run([&] {
    auto some = matching(
        [&](const Mirror& each) { return each.place.address == address && !each.place.is_host; });
    if (some.empty()) return CUDA_ERROR_INVALID_VALUE;
    Mirror& mirror = *some.front();
    const bool counted = mirror.place.access != Access::kHost;
    const bool counts = access != Access::kHost;
    if (counts && !counted) held_.fetch_add(mirror.states.held());
    if (!counts && counted) held_.fetch_sub(mirror.states.held());
    mirror.place.access = access;
    mirror.stream = stream;
    return CUDA_SUCCESS;
  });
}

void Mirrors::stream_destroyed(CUstream stream) {
  if (!any()) return;
  static_cast<void>(pager_.run([&] {
    auto some = matching([&](const Mirror& each) {
      return each.place.access == Access::kStream && each.stream == stream;
    });
    for (auto& each : some) each->place.access = Access::kAll;
    return CUDA_SUCCESS;
  }));
}

std::optional<Mirrors::Spot> Mirrors::find(std::uint64_t address, std::size_t bytes) {
  if (!any()) return std::nullopt;
  auto all = all_.lock();
  auto after = all->upper_bound(address);
  if (after == all->begin()) return std::nullopt;
  const Place& place = std::prev(after)->second->place;
  const std::uint64_t at = address - place.address;
  if (at >= place.bytes || bytes > place.bytes - at) return std::nullopt;
  return Spot{place.device + at, place.is_host};
}

bool Mirrors::overlaps(std::uint64_t device, std::size_t bytes) {
  return any() && !matching([&](const Mirror& each) {
                     return each.place.device < device + bytes &&
                            device < each.place.device + each.place.bytes;
                   }).empty();
}

// --- what is asked for, on any thread ------------------------------------------------------------

CUresult Mirrors::lend(CUstream stream) {
  if (!any()) return CUDA_SUCCESS;
  launches_.fetch_add(1, std::memory_order_release);
  if (held_.load(std::memory_order_relaxed) == 0) return CUDA_SUCCESS;
  catch_faults(shim::resolve);
  return pager_.run([&] {
    auto some = matching([&](const Mirror& each) {
      const Access access = each.place.access;
      return each.states.held() > 0 &&
             (access == Access::kAll || (access == Access::kStream && each.stream == stream));
    });
    for (auto& each : some) {
      CUresult lent = hand_over(*each, 0, each->place.bytes, true);
      if (lent != CUDA_SUCCESS) return lent;
    }
    return CUDA_SUCCESS;
  });
}

CUresult Mirrors::lend_for(const api::RowInfo& info) {
  // What reads or writes the device by addresses nobody here looks at.
  static const std::uint16_t kRows[] = {
      row::cuGraphLaunch::info().id,           row::cuStreamWaitValue32_v2::info().id,
      row::cuStreamWaitValue64_v2::info().id,  row::cuStreamWriteValue32_v2::info().id,
      row::cuStreamWriteValue64_v2::info().id, row::cuStreamBatchMemOp_v2::info().id,
      row::cuMemsetD2D8_v2::info().id,         row::cuMemsetD2D16_v2::info().id,
      row::cuMemsetD2D32_v2::info().id,        row::cuMemsetD2D8Async::info().id,
      row::cuMemsetD2D16Async::info().id,      row::cuMemsetD2D32Async::info().id,
      row::cuMemcpy3D_v2::info().id,           row::cuMemcpyDtoA_v2::info().id,
      row::cuMemcpyAtoD_v2::info().id,         row::cuMemcpyPeer::info().id,
      row::cuMemcpyPeerAsync::info().id};
  const bool starts = std::find(std::begin(kRows), std::end(kRows), info.id) != std::end(kRows);
  return starts ? lend(nullptr) : CUDA_SUCCESS;
}

CUresult Mirrors::lend_range(std::uint64_t device, std::size_t bytes, bool writes) {
  if (!any() || bytes == 0) return CUDA_SUCCESS;
  return pager_.run([&] {
    auto some = matching([&](const Mirror& each) {
      return each.states.held() > 0 && each.place.device < device + bytes &&
             device < each.place.device + each.place.bytes;
    });
    for (auto& each : some) {
      const Place& place = each->place;
      const std::uint64_t first = std::max(device, place.device) - place.device;
      const std::uint64_t end = std::min(device + bytes, place.device + place.bytes) - place.device;
      CUresult lent = hand_over(*each, first, end - first, writes);
      if (lent != CUDA_SUCCESS) return lent;
    }
    return CUDA_SUCCESS;
  });
}

CUresult Mirrors::fetch(std::uint64_t address, std::size_t bytes) {
  if (!any() || bytes == 0) return CUDA_SUCCESS;
  return pager_.run([&] {
    auto some = matching(
        [&](const Mirror& each) { return address - each.place.address < each.place.bytes; });
    if (some.empty()) return CUDA_ERROR_INVALID_VALUE;
    Mirror& mirror = *some.front();
    const std::size_t at = address - mirror.place.address;
    for (const auto& run : mirror.states.missing(at, std::min(bytes, mirror.place.bytes - at))) {
      CUresult opened = open(mirror, {run, true, false});
      if (opened != CUDA_SUCCESS) return opened;
    }
    return CUDA_SUCCESS;
  });
}

void Mirrors::settle(std::uint64_t launches, bool whole) {
  if (!any()) return;
  if (whole) {
    std::uint64_t settled = settled_.load(std::memory_order_relaxed);
    while (settled < launches && !settled_.compare_exchange_weak(settled, launches)) {
    }
  }
  if (!any_early_.load(std::memory_order_acquire)) return;
  static_cast<void>(pager_.run([&] {
    any_early_.store(false, std::memory_order_release);
    for (auto& each : matching([](const Mirror& one) { return one.is_early; })) {
      HeldCount count(*this, *each);
      each->is_early = false;
      for (const auto& run : each->states.expire()) show(*each, run.at, run.bytes);
    }
    return CUDA_SUCCESS;
  }));
}

}  // namespace farcall::shim
