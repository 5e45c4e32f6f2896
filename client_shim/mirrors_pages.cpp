// The part of Mirrors that moves bytes and changes rights: on the pager's thread alone.
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "client_shim/client.h"
#include "client_shim/copy.h"
#include "client_shim/host_pages.h"
#include "client_shim/mirrors.h"
#include "transport/api/client_call.h"
#include "transport/base/log.h"

namespace farcall::shim {
namespace row = api::row;

namespace {

struct Part {
  std::size_t at, bytes;
};

// What of these bytes lies in any of the extents.
template <class Extents>
std::vector<Part> parts_of(const Extents& extents, std::size_t at, std::size_t bytes) {
  std::vector<Part> parts;
  for (const auto& each : extents) {
    const std::size_t first = std::max(at, each.at);
    const std::size_t end = std::min(at + bytes, each.at + each.bytes);
    if (first < end) parts.push_back({first, end - first});
  }
  return parts;
}

}  // namespace

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
    if (after != all->begin()) mirror = std::prev(after)->second;
  }
  const std::uint64_t at = mirror == nullptr ? 0 : address - mirror->place.address;
  if (mirror == nullptr || at >= whole_pages(mirror->place.bytes)) {
    // It may have become mirrored, or have been, when it was touched.
    return may_touch(address, is_write) ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
  }
  // The last page may go on behind the last byte.
  const std::size_t offset = std::min<std::size_t>(at, mirror->place.bytes - 1);
  PageStates::Need need = mirror->states.touch(offset, is_write);
  // A block that is opened for writing counts as written, so while work is under way, which may
  // write to the next ones, it is this one alone.
  const bool is_under_way =
      launches_.load(std::memory_order_acquire) != settled_.load(std::memory_order_acquire);
  if (is_write && is_under_way) need.run.bytes = std::min(need.run.bytes, kMirrorBlockBytes);
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
  if (need.is_write) keep_twin(mirror, need.run);
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
  for (const auto& part : parts_of(mirror.extents, run.at, run.bytes)) {
    void* to = mirror.memory.ours().data() + part.at;
    CUresult filled =
        receive(client_, {mirror.place.device + part.at, to, part.bytes, stream, true});
    if (filled != CUDA_SUCCESS) return filled;
  }
  return CUDA_SUCCESS;
}

CUresult Mirrors::send(Mirror& mirror, std::size_t at, std::size_t bytes, CUstream stream) {
  for (const auto& part : parts_of(mirror.extents, at, bytes)) {
    void* from = mirror.memory.ours().data() + part.at;
    CUresult sent =
        send_known(client_, {mirror.place.device + part.at, from, part.bytes, stream, true});
    if (sent != CUDA_SUCCESS) return sent;
  }
  return CUDA_SUCCESS;
}

// Remembers what a block holds that is about to be written while the device may write it, too.
// Without memory for that the whole block counts as written.
void Mirrors::keep_twin(Mirror& mirror, const PageStates::Run& run) {
  const bool is_under_way =
      launches_.load(std::memory_order_acquire) != settled_.load(std::memory_order_acquire);
  if (!mirror.place.is_host || !is_under_way || run.bytes > kMirrorBlockBytes) return;
  auto twin = SecureBuffer::make(run.bytes);
  if (!twin.ok()) return;
  std::memcpy(twin->data(), mirror.memory.ours().data() + run.at, run.bytes);
  mirror.twins[run.at] = std::move(twin).value();
  any_twins_.store(true, std::memory_order_release);
}

namespace {

// Parts of one block that are sent by themselves; beyond, all from the first change to the last is
// one, changed or not.
constexpr std::size_t kChangesMax = 64;

// Where two texts of a block differ, by words: no program writes halves of one from both sides.
void add_changes(std::size_t at, std::span<const std::byte> now, std::span<const std::byte> then,
                 std::vector<MirrorMemory::Part>& parts) {
  constexpr std::size_t kWord = 4;
  const std::size_t before = parts.size();
  for (std::size_t i = 0; i < now.size(); i += kWord) {
    const std::size_t bytes = std::min(kWord, now.size() - i);
    if (std::memcmp(&now[i], &then[i], bytes) == 0) continue;
    const bool goes_on = parts.size() > before && parts.back().at + parts.back().bytes == at + i;
    if (goes_on) {
      parts.back().bytes += bytes;
    } else {
      parts.push_back({at + i, bytes});
    }
  }
  if (parts.size() - before <= kChangesMax) return;
  parts[before].bytes = parts.back().at + parts.back().bytes - parts[before].at;
  parts.resize(before + 1);
}

}  // namespace

// What the program wrote of a dirty run.
std::vector<MirrorMemory::Part> Mirrors::written(const Mirror& mirror, const PageStates::Run& run) {
  if (run.is_fresh) return mirror.memory.touched(run.at, run.bytes);
  std::vector<MirrorMemory::Part> parts;
  const std::size_t end = run.at + run.bytes;
  for (std::size_t at = run.at; at < end; at += kMirrorBlockBytes) {
    const std::size_t bytes = std::min(kMirrorBlockBytes, end - at);
    const auto twin = mirror.twins.find(at);
    if (twin != mirror.twins.end()) {
      add_changes(at, mirror.memory.ours().subspan(at, bytes), twin->second.bytes(), parts);
    } else if (!parts.empty() && parts.back().at + parts.back().bytes == at) {
      parts.back().bytes += bytes;
    } else {
      parts.push_back({at, bytes});
    }
  }
  return parts;
}

// The pages are mirrored; of this variable nothing has been seen yet. Where the program may touch
// them already, its bytes must be there.
CUresult Mirrors::add_variable(Mirror& mirror, const Variable& variable) {
  const std::uint64_t first = std::max(variable.address, mirror.place.address);
  const std::uint64_t end =
      std::min(variable.address + variable.bytes, mirror.place.address + mirror.place.bytes);
  const Extent extent{first - mirror.place.address, end - first, variable.owner};
  if (!parts_of(mirror.extents, extent.at, extent.bytes).empty()) return CUDA_SUCCESS;
  for (std::size_t at = extent.at; at < extent.at + extent.bytes;) {
    const std::size_t next =
        std::min((at / kMirrorBlockBytes + 1) * kMirrorBlockBytes, extent.at + extent.bytes);
    if (mirror.states.at(at) != PageState::kDevice) {
      CUstream stream = nullptr;
      CUresult got = enter(mirror.place.context, &stream);
      void* to = mirror.memory.ours().data() + at;
      if (got == CUDA_SUCCESS) {
        got = receive(client_, {mirror.place.device + at, to, next - at, stream, true});
      }
      if (got != CUDA_SUCCESS) return got;
    }
    at = next;
  }
  mirror.extents.push_back(extent);
  return CUDA_SUCCESS;
}

CUresult Mirrors::place_variable(const Variable& variable) {
  {
    auto all = all_.lock();
    if (CUresult started = start(all); started != CUDA_SUCCESS) return started;
  }
  const std::uint64_t page = whole_pages(1);
  const std::uint64_t end = whole_pages(variable.address + variable.bytes);
  // The pager does one thing at a time: other threads may ask for the same pages.
  return pager_.run([&] {
    for (std::uint64_t at = variable.address / page * page; at < end;) {
      // From here to the next that is mirrored already, or through that.
      std::shared_ptr<Mirror> known;
      std::uint64_t next = end;
      {
        auto all = all_.lock();
        auto after = all->upper_bound(at);
        if (after != all->end()) next = std::min(end, after->first);
        if (after != all->begin()) {
          const auto& before = std::prev(after)->second;
          const std::uint64_t its_end = before->place.address + whole_pages(before->place.bytes);
          if (its_end > at) known = before;
          if (its_end > at) next = its_end;
        }
      }
      if (known == nullptr) {
        Place place;
        place.address = place.device = at;
        place.bytes = next - at;
        place.context = variable.context;
        place.state = PageState::kDevice;  // its first value is there
        if (CUresult placed = put(place); placed != CUDA_SUCCESS) return placed;
        known = all_.lock()->at(at);
        known->extents.clear();
      }
      if (CUresult added = add_variable(*known, variable); added != CUDA_SUCCESS) return added;
      at = next;
    }
    return CUDA_SUCCESS;
  });
}

// What the device has not is on it when this returns, whatever its streams are doing.
CUresult Mirrors::flush(Mirror& mirror, std::size_t at, std::size_t bytes) {
  const auto dirty = mirror.states.dirty(at, bytes);
  if (dirty.empty()) return CUDA_SUCCESS;
  CUstream stream = nullptr;
  CUresult result = enter(mirror.place.context, &stream);
  bool any = false;
  for (const auto& run : dirty) {
    for (const auto& part : written(mirror, run)) {
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
  mirror.twins.erase(mirror.twins.lower_bound(first), mirror.twins.lower_bound(end));
  HeldCount count(*this, mirror);
  if (writes) {
    mirror.states.lent(at, bytes);
  } else {
    mirror.states.shared(at, bytes);
  }
  return CUDA_SUCCESS;
}

}  // namespace farcall::shim
