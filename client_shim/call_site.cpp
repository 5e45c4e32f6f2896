#include "client_shim/call_site.h"

#include <link.h>
#include <unistd.h>
#include <unwind.h>

#include <algorithm>
#include <cstring>

#include "transport/base/limits.h"

namespace farcall::shim {
namespace {

std::uintptr_t number_of(const void* address) { return reinterpret_cast<std::uintptr_t>(address); }

// Collects the frames outside [own_begin, own_end).
struct Walk {
  std::uintptr_t own_begin;
  std::uintptr_t own_end;
  SiteCache::Entry& entry;
  int steps = 0;

  static _Unwind_Reason_Code step(_Unwind_Context* context, void* pointer) {
    return static_cast<Walk*>(pointer)->take(context);
  }

  _Unwind_Reason_Code take(_Unwind_Context* context) {
    const std::uintptr_t address = _Unwind_GetIP(context);
    if (address == 0 || ++steps > kStepsMax) return _URC_END_OF_STACK;
    if (address >= own_begin && address < own_end) return _URC_NO_REASON;
    // Where x86-64 keeps the return address; elsewhere, or where a frame is odd, it is not there,
    // and then nothing can be verified later.
    const auto* slot = reinterpret_cast<const void* const*>(_Unwind_GetCFA(context)) - 1;
    const auto* found = reinterpret_cast<const void*>(address);
    if (*slot != found) return _URC_END_OF_STACK;
    entry.slots[entry.frames] = slot;
    entry.addresses[entry.frames] = found;
    return ++entry.frames == kTraceFrames ? _URC_END_OF_STACK : _URC_NO_REASON;
  }

  static constexpr int kStepsMax = 64;
};

// The loader has no name for the program itself.
std::string own_program() {
  char path[4096];
  const ssize_t bytes = ::readlink("/proc/self/exe", path, sizeof path);
  return bytes <= 0 ? std::string() : std::string(path, static_cast<std::size_t>(bytes));
}

bool still_holds(const SiteCache::Entry& entry) {
  for (std::uint32_t i = 0; i < entry.frames; ++i) {
    if (*entry.slots[i] != entry.addresses[i]) return false;
  }
  return true;
}

}  // namespace

CallSites::CallSites(const void* own) {
  if (own == nullptr) return;
  auto state = state_.lock();
  if (const Module* module = module_of(*state, own)) {
    own_begin_ = module->begin;
    own_end_ = module->end;
  }
}

std::uint16_t CallSites::find(SiteCache& cache, std::uint16_t function, const void* frame) {
  const std::size_t hash = (number_of(frame) >> 4) * 31 + function * 7U;
  // Two places, so that two ways of the same depth need not push each other out.
  SiteCache::Entry* const pair[2] = {&cache.entries[hash % SiteCache::kEntries],
                                     &cache.entries[(hash + 1) % SiteCache::kEntries]};
  for (SiteCache::Entry* entry : pair) {
    if (entry->frame == frame && entry->function == function && still_holds(*entry)) {
      return entry->site;
    }
  }
  *pair[1] = *pair[0];
  SiteCache::Entry& fresh = *pair[0];
  fresh = {};
  fresh.frame = frame;
  fresh.function = function;
  fresh.site = learn(fresh);
  return fresh.site;
}

std::uint16_t CallSites::learn(SiteCache::Entry& entry) {
  Walk walk{own_begin_, own_end_, entry};
  _Unwind_Backtrace(Walk::step, &walk);
  if (entry.frames == 0) return 0;
  TraceSite site{};
  site.frames = entry.frames;
  auto state = state_.lock();
  for (std::uint32_t i = 0; i < entry.frames; ++i) {
    const Module* module = module_of(*state, entry.addresses[i]);
    site.frame[i].module = module == nullptr
                               ? kTraceNoModule
                               : static_cast<std::uint32_t>(module - state->modules.data());
    site.frame[i].offset = number_of(entry.addresses[i]) - (module == nullptr ? 0 : module->base);
  }
  for (const TraceSite& known : state->sites) {
    if (known.frames == site.frames &&
        std::memcmp(known.frame, site.frame, sizeof site.frame) == 0) {
      return static_cast<std::uint16_t>(known.index);
    }
  }
  if (state->sites.size() >= limits::kTraceSitesMax) return 0;
  site.index = static_cast<std::uint32_t>(state->sites.size()) + 1;
  state->sites.push_back(site);
  return static_cast<std::uint16_t>(site.index);
}

const CallSites::Module* CallSites::module_of(State& state, const void* address) {
  const std::uintptr_t at = number_of(address);
  auto find = [&]() -> const Module* {
    // The youngest first: a library that was unloaded may have left its addresses to another.
    for (std::size_t i = state.modules.size(); i-- > 0;) {
      const Module& module = state.modules[i];
      if (at >= module.begin && at < module.end) return &module;
    }
    return nullptr;
  };
  if (const Module* known = find()) return known;
  auto visit = [](dl_phdr_info* info, std::size_t, void* pointer) {
    auto& modules = *static_cast<std::vector<Module>*>(pointer);
    Module module;
    module.base = info->dlpi_addr;
    module.begin = UINTPTR_MAX;
    for (int i = 0; i < info->dlpi_phnum; ++i) {
      const auto& part = info->dlpi_phdr[i];
      if (part.p_type != PT_LOAD || (part.p_flags & PF_X) == 0) continue;
      module.begin = std::min(module.begin, module.base + part.p_vaddr);
      module.end = std::max(module.end, module.base + part.p_vaddr + part.p_memsz);
    }
    for (const Module& known : modules) {
      if (known.begin == module.begin && known.end == module.end) return 0;
    }
    if (modules.size() >= limits::kTraceModulesMax) return 1;
    module.path = info->dlpi_name == nullptr ? "" : info->dlpi_name;
    if (module.path.empty()) module.path = own_program();
    modules.push_back(std::move(module));
    return 0;
  };
  ::dl_iterate_phdr(visit, &state.modules);
  return find();
}

CallSites::News CallSites::news() {
  News news;
  auto state = state_.lock();
  news.first_module = static_cast<std::uint32_t>(state->modules_told);
  for (; state->modules_told < state->modules.size(); ++state->modules_told) {
    news.modules.push_back(state->modules[state->modules_told].path);
  }
  for (; state->sites_told < state->sites.size(); ++state->sites_told) {
    news.sites.push_back(state->sites[state->sites_told]);
  }
  return news;
}

}  // namespace farcall::shim
