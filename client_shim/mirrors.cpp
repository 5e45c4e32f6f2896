#include "client_shim/mirrors.h"

#include <algorithm>

#include "client_shim/captures.h"
#include "client_shim/client.h"
#include "client_shim/fleet.h"
#include "client_shim/process.h"
#include "transport/api/rows.h"
#include "transport/base/log.h"

namespace farcall::shim {
namespace row = api::row;

namespace {

Fault resolve(const void* address, bool is_write) {
  Fault fault = Fault::kNotOurs;
  for_each_client([&](Client& client) {
    if (fault != Fault::kNotOurs) return;
    fault = client.mirrors().resolve(reinterpret_cast<std::uint64_t>(address), is_write);
  });
  return fault;
}

// On the pager's thread: its calls are this client's, also in a program with several servers, and
// no capture of another thread's forbids them.
bool begin(Client& client) {
  if (Fleet* fleet = current_fleet()) {
    if (&fleet->first() != &client && !fleet->first().begin_own_thread()) return false;
    fleet->thread().serves = &client;
  }
  const bool has_begun = client.begin_own_thread();
  (void)Captures::exchange_mode(CU_STREAM_CAPTURE_MODE_RELAXED);
  return has_begun;
}

}  // namespace

Mirrors::Mirrors(Client& client)
    : client_(client),
      pager_([](void* self, std::uint64_t address,
                bool is_write) { return static_cast<Mirrors*>(self)->touched(address, is_write); },
             [](void* self) { return begin(static_cast<Mirrors*>(self)->client_); }, this) {}

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
  {
    auto all = all_.lock();
    if (CUresult started = start(all); started != CUDA_SUCCESS) return started;
  }
  if (!place.replaces) return put(place);
  // Who writes to it meanwhile is stopped, and asks the pager, who answers when it is done.
  return pager_.run([&] { return put(place); });
}

CUresult Mirrors::put(const Place& place) {
  auto all = all_.lock();
  const std::uint64_t end = place.address + place.bytes;
  lowest_.store(std::min(lowest_.load(), place.address), std::memory_order_release);
  highest_.store(std::max(highest_.load(), end), std::memory_order_release);
  catch_faults(shim::resolve);
  if (!place.replaces) client_.allocations().held_ranges().give_way(place.address, place.bytes);
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
  return CUDA_SUCCESS;
}

CUresult Mirrors::in_context(CUcontext context, FunctionRef<CUresult()> work) {
  {
    auto all = all_.lock();
    if (CUresult started = start(all); started != CUDA_SUCCESS) return started;
  }
  return pager_.run([&] {
    CUstream stream = nullptr;
    CUresult entered = enter(context, &stream);
    return entered == CUDA_SUCCESS ? work() : entered;
  });
}

CUresult Mirrors::restore(std::uint64_t address, bool fetches) {
  return pager_.run([&] {
    auto some = matching([&](const Mirror& each) { return each.place.address == address; });
    if (some.empty()) return CUDA_ERROR_INVALID_VALUE;
    Mirror& mirror = *some.front();
    using Runs = decltype(mirror.states.missing(0, 0));
    for (const auto& run : fetches ? mirror.states.missing(0, mirror.place.bytes) : Runs()) {
      CUresult opened = open(mirror, {run, true, false});
      if (opened != CUDA_SUCCESS) return opened;
    }
    if (!mirror.memory.restore()) return CUDA_ERROR_OUT_OF_MEMORY;
    drop(some);
    return CUDA_SUCCESS;
  });
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
  if (!any() || owner == 0) return;
  static_cast<void>(pager_.run([&] {
    const auto is_its = [&](const Extent& each) { return each.owner == owner; };
    auto some = matching([&](const Mirror& each) {
      return std::any_of(each.extents.begin(), each.extents.end(), is_its);
    });
    for (auto& each : some) std::erase_if(each->extents, is_its);
    std::erase_if(some, [](const auto& each) { return !each->extents.empty(); });
    drop(some);
    return CUDA_SUCCESS;
  }));
}

void Mirrors::drop_context(CUcontext context) {
  if (!any()) return;
  static_cast<void>(pager_.run([&] {
    const Some some = matching([&](const Mirror& each) { return each.place.context == context; });
    for (const auto& each : some) {
      if (each->place.is_host && !each->memory.restore()) {
        FARCALL_LOG_WARN("mapped host memory is lost with its context: no memory");
      }
    }
    drop(some);
    streams_.erase(context);
    return CUDA_SUCCESS;
  }));
}

std::vector<Mirrors::Place> Mirrors::host_memory(CUcontext context) {
  std::vector<Place> places;
  if (!any()) return places;
  const Some some = matching(
      [&](const Mirror& each) { return each.place.is_host && each.place.context == context; });
  for (const auto& each : some) places.push_back(each->place);
  return places;
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
  if (at >= place.bytes) return std::nullopt;
  // A variable may go on in the next one.
  for (std::uint64_t reached = place.bytes; bytes > reached - at; ++after) {
    const bool goes_on = after != all->end() && after->first == place.address + reached &&
                         after->second->place.device == place.device + reached;
    if (!goes_on) return std::nullopt;
    reached += after->second->place.bytes;
  }
  const std::uint64_t base = place.base != 0 ? place.base : place.device;
  return Spot{place.device + at, place.is_host, place.is_chosen, base, place.context};
}

bool Mirrors::touches(std::uint64_t address, std::size_t bytes) {
  if (!any() || bytes == 0) return false;
  const std::uint64_t last = address + std::min<std::uint64_t>(bytes - 1, UINT64_MAX - address);
  auto all = all_.lock();
  auto after = all->upper_bound(last);
  if (after == all->begin()) return false;
  const Place& place = std::prev(after)->second->place;
  return address <= last && address < place.address + whole_pages(place.bytes);
}

std::uint64_t Mirrors::base_of(std::uint64_t address) {
  auto spot = find(address, 1);
  return spot ? spot->base : address;
}

bool Mirrors::overlaps(std::uint64_t device, std::size_t bytes) {
  return any() && !matching([&](const Mirror& each) {
                     return each.place.device < device + bytes &&
                            device < each.place.device + each.place.bytes;
                   }).empty();
}

// --- what is asked for, on any thread ------------------------------------------------------------

namespace {

// In the place of a stream: one that stands in arguments nobody here looks at.
const auto kAnyStream = reinterpret_cast<CUstream>(~std::uintptr_t{0});

}  // namespace

CUresult Mirrors::lend(CUstream stream) {
  if (!any()) return CUDA_SUCCESS;
  launches_.fetch_add(1, std::memory_order_release);
  if (held_.load(std::memory_order_relaxed) == 0) return CUDA_SUCCESS;
  catch_faults(shim::resolve);
  return pager_.run([&] {
    auto some = matching([&](const Mirror& each) {
      const Access access = each.place.access;
      const bool is_its = each.stream == stream || stream == kAnyStream;
      return each.states.held() > 0 &&
             (access == Access::kAll || (access == Access::kStream && is_its));
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
  if (std::find(std::begin(kRows), std::end(kRows), info.id) != std::end(kRows)) {
    return lend(kAnyStream);
  }
  const bool looks = info.when == api::When::Waits || info.id == row::cuStreamQuery::info().id ||
                     info.id == row::cuEventQuery::info().id;
  return looks ? publish() : CUDA_SUCCESS;
}

CUresult Mirrors::publish() {
  if (!any_twins_.load(std::memory_order_acquire) || pager_.is_this_thread()) return CUDA_SUCCESS;
  return pager_.run([&] {
    any_twins_.store(false, std::memory_order_release);
    for (auto& each : matching([](const Mirror& one) { return !one.twins.empty(); })) {
      // What the device writes from now on is looked for after the wait.
      each->is_early = true;
      any_early_.store(true, std::memory_order_release);
      const std::size_t first = each->twins.begin()->first;
      const auto& [last, twin] = *each->twins.rbegin();
      CUresult shared = hand_over(*each, first, last + twin.size() - first, false);
      if (shared != CUDA_SUCCESS) any_twins_.store(true, std::memory_order_release);
      if (shared != CUDA_SUCCESS) return shared;
    }
    return CUDA_SUCCESS;
  });
}

CUresult Mirrors::lend_range(std::uint64_t device, std::size_t bytes, bool writes) {
  if (!any() || bytes == 0) return CUDA_SUCCESS;
  // What is fetched before the copy is done is old.
  if (writes) launches_.fetch_add(1, std::memory_order_release);
  return pager_.run([&] {
    auto some = matching([&](const Mirror& each) {
      return each.place.device < device + bytes && device < each.place.device + each.place.bytes;
    });
    // It may still be under way when the program touches what is beside it.
    if (writes && !some.empty()) launches_.fetch_add(1, std::memory_order_release);
    for (auto& each : some) {
      if (each->states.held() == 0) continue;
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
