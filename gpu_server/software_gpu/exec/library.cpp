// Device functions that every module may declare without defining: printf, assert, malloc, free,
// and the one that sets the condition of a graph.
#include <cstdio>
#include <cstring>

#include "gpu_server/software_gpu/exec/graph_call.h"
#include "gpu_server/software_gpu/exec/graph_condition.h"
#include "gpu_server/software_gpu/exec/heap.h"
#include "gpu_server/software_gpu/exec/isa/lanes.h"
#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {

u64 reachable_bytes(const Warp& w, u64 address) {
  if (const auto range = w.worker->launch->memory->find(address)) {
    return range->bytes - (address - range->base);
  }
  const auto window = [&](const std::byte* base, u64 bytes) {
    const u64 at = address - reinterpret_cast<u64>(base);
    return at < bytes ? bytes - at : 0;
  };
  const u64 shared_bytes = u64{w.shared_bytes} * w.worker->launch->cluster_blocks;
  if (const u64 n = window(w.block->first->shared.get(), shared_bytes)) return n;
  return window(w.block->local.get(), u64{w.local_stride} * kLanes * w.block->warp_count);
}

std::byte* call_local(const Warp& w, int lane) {
  return w.local + std::size_t{w.local_stride} * static_cast<u32>(lane) + w.frame->local_offset;
}

u64 call_argument(const Warp& w, const CallSite& site, std::size_t n, int lane) {
  u64 value = 0;
  if (n >= site.arguments.size()) return 0;
  const LocalSlot& slot = site.arguments[n];
  std::memcpy(&value, call_local(w, lane) + slot.offset, slot.bytes < 8 ? slot.bytes : 8);
  return value;
}

void call_result(Warp& w, const CallSite& site, int lane, u64 value) {
  if (site.results.empty()) return;
  const LocalSlot& slot = site.results[0];
  std::memcpy(call_local(w, lane) + slot.offset, &value, slot.bytes < 8 ? slot.bytes : 8);
}

namespace {

constexpr std::size_t kTextBytesMax = 64 * 1024;  // of one printf, as a runaway string would give

bool read_string(const Warp& w, u64 address, std::string* text) {
  const u64 room = reachable_bytes(w, address);
  if (room == 0) return false;
  const char* from = reinterpret_cast<const char*>(address);
  text->assign(from, ::strnlen(from, room < kTextBytesMax ? room : kTextBytesMax));
  return true;
}

// The arguments of one printf call: packed with natural alignment behind a pointer.
class Arguments {
 public:
  Arguments(const Warp& w, u64 address)
      : at_(address), end_(address + reachable_bytes(w, address)) {}
  template <class T>
  bool take(T* value) {
    at_ = (at_ + sizeof(T) - 1) / sizeof(T) * sizeof(T);
    if (at_ + sizeof(T) > end_) return false;
    std::memcpy(value, reinterpret_cast<const void*>(at_), sizeof(T));
    at_ += sizeof(T);
    ++taken_;
    return true;
  }
  int taken() const { return taken_; }

 private:
  u64 at_, end_;
  int taken_ = 0;
};

// One conversion of a format, from its % on. Returns its length; 0 when it is not a conversion.
struct Conversion {
  std::string text;  // for the host's printf, stars replaced, length modifiers as the host needs
  bool is_wide = false;
  char kind = 0;
};

std::size_t parse_conversion(std::string_view format, Arguments& arguments, Conversion* out) {
  std::size_t n = 1;
  out->text = "%";
  while (n < format.size() && std::strchr("-+ #0", format[n]) != nullptr) out->text += format[n++];
  for (int part = 0; part < 2; ++part) {
    if (part == 1) {
      if (n >= format.size() || format[n] != '.') break;
      out->text += format[n++];
    }
    if (n < format.size() && format[n] == '*') {
      s32 value = 0;
      arguments.take(&value);
      out->text += std::to_string(value > 4096 ? 4096 : value);
      ++n;
    }
    const std::size_t digits = n;
    while (n < format.size() && format[n] >= '0' && format[n] <= '9') ++n;
    if (n - digits > 4) return 0;  // a width nobody means
    out->text += format.substr(digits, n - digits);
  }
  while (n < format.size() && std::strchr("hlLqjzt", format[n]) != nullptr) {
    out->is_wide = out->is_wide || format[n] != 'h';
    if (format[n] == 'h') out->text += 'h';
    ++n;
  }
  if (n >= format.size()) return 0;
  out->kind = format[n];
  return n + 1;
}

void append(std::string& to, const char* format, auto value) {
  char room[4608];
  const int n = std::snprintf(room, sizeof room, format, value);
  if (n > 0) to.append(room, std::min(static_cast<std::size_t>(n), sizeof room - 1));
}

bool append_conversion(const Warp& w, std::string& to, Arguments& arguments, Conversion& c) {
  switch (c.kind) {
    case '%': to += '%'; return true;
    case 'd':
    case 'i':
    case 'u':
    case 'o':
    case 'x':
    case 'X': {
      if (!c.is_wide) {
        u32 value = 0;
        arguments.take(&value);
        append(to, (c.text + c.kind).c_str(), value);
        return true;
      }
      u64 value = 0;
      arguments.take(&value);
      append(to, (c.text + "ll" + c.kind).c_str(), static_cast<unsigned long long>(value));
      return true;
    }
    case 'c': {
      s32 value = 0;
      arguments.take(&value);
      append(to, (c.text + c.kind).c_str(), value);
      return true;
    }
    case 'f':
    case 'F':
    case 'e':
    case 'E':
    case 'g':
    case 'G':
    case 'a':
    case 'A': {
      f64 value = 0;
      arguments.take(&value);
      append(to, (c.text + c.kind).c_str(), value);
      return true;
    }
    case 'p': {
      u64 value = 0;
      arguments.take(&value);
      append(to, (c.text + c.kind).c_str(), reinterpret_cast<void*>(value));
      return true;
    }
    case 's': {
      u64 address = 0;
      std::string text;
      arguments.take(&address);
      if (address == 0) {
        text = "(null)";
      } else if (!read_string(w, address, &text)) {
        return false;
      }
      append(to, (c.text + c.kind).c_str(), text.c_str());
      return true;
    }
    default: return true;
  }
}

bool print_one(Warp& w, const CallSite& site, int lane, std::string& to) {
  std::string format;
  if (!read_string(w, call_argument(w, site, 0, lane), &format)) return false;
  Arguments arguments(w, call_argument(w, site, 1, lane));
  const std::string_view all = format;
  for (std::size_t n = 0; n < all.size() && to.size() < kTextBytesMax;) {
    Conversion conversion;
    const std::size_t length =
        all[n] == '%' ? parse_conversion(all.substr(n), arguments, &conversion) : 0;
    if (length == 0) {
      to += all[n++];
      continue;
    }
    if (!append_conversion(w, to, arguments, conversion)) return false;
    n += length;
  }
  call_result(w, site, lane, static_cast<u32>(arguments.taken()));
  return true;
}

const Ins* print(Warp& w, const Ins* i, const CallSite& site) {
  std::string text;
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int lane = __builtin_ctz(m);
    if (!print_one(w, site, lane, text)) {
      return raise_fault(w, i, FaultKind::kIllegalAddress, lane, 0,
                         "printf of an unreadable string");
    }
  }
  w.worker->launch->print(false, text);
  return i + 1;
}

const Ins* fail_assertion(Warp& w, const Ins* i, const CallSite& site) {
  const LaunchState& launch = *w.worker->launch;
  std::string all;
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int lane = __builtin_ctz(m);
    std::string message, file, function;
    read_string(w, call_argument(w, site, 0, lane), &message);
    read_string(w, call_argument(w, site, 1, lane), &file);
    read_string(w, call_argument(w, site, 3, lane), &function);
    const unsigned thread = w.index * kLanes + static_cast<unsigned>(lane);
    const unsigned nx = launch.block[0], ny = launch.block[1];
    char where[160];
    std::snprintf(where, sizeof where, ": block: [%u,%u,%u], thread: [%u,%u,%u] Assertion `",
                  w.block->ctaid[0], w.block->ctaid[1], w.block->ctaid[2], thread % nx,
                  thread / nx % ny, thread / nx / ny);
    all += file + ":" + std::to_string(static_cast<u32>(call_argument(w, site, 2, lane))) + ": " +
           function + where + message + "` failed.\n";
  }
  launch.print(true, all);
  return raise_fault(w, i, FaultKind::kAssert, __builtin_ctz(w.mask), 0, "failed an assertion");
}

const Ins* library_call(Warp& w, const Ins* i, std::byte*) {
  const CallSite& site = w.frame->function->calls[i->table];
  if (site.library == kSetGraphCondition) {
    for (u32 m = w.mask; m != 0; m &= m - 1) {
      const int lane = __builtin_ctz(m);
      set_graph_condition(call_argument(w, site, 0, lane),
                          static_cast<u32>(call_argument(w, site, 1, lane)));
    }
    return i + 1;
  }
  switch (site.library) {
    case Library::kVprintf: return print(w, i, site);
    case Library::kAssertFail: return fail_assertion(w, i, site);
    case Library::kMalloc:
    case Library::kFree: break;
    default: return device_runtime_call(w, i, site);
  }
  Heap& heap = *w.worker->launch->heap;
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int lane = __builtin_ctz(m);
    const u64 value = call_argument(w, site, 0, lane);
    if (site.library == Library::kMalloc) {
      call_result(w, site, lane, heap.allocate(value));
    } else if (value != 0 && !heap.release(value)) {
      return raise_fault(w, i, FaultKind::kIllegalAddress, lane, value,
                         "freed what malloc never gave");
    }
  }
  return i + 1;
}

const HandlerEntry kEntries[] = {{handler_key(Op::kLibrary, Ty::kU32), library_call, library_call}};

}  // namespace

HandlerList library_handlers() { return {kEntries, sizeof kEntries / sizeof kEntries[0]}; }

}  // namespace farcall::softgpu
