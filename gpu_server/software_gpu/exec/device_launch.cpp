// Kernels that launch kernels: the few calls of the driver that libcudadevrt's PTX is built on.
// Children run when their parent's grid has ended, one after the other, each with all of its own
// children: in the order of one stream, which every order that streams allow includes. So streams
// and events of the device need no more than a number.
// Source: CUDA C++ Programming Guide 13.0, Dynamic Parallelism; the PTX of libcudadevrt.a, whose
// table of errors gives these codes their meaning.
#include <algorithm>
#include <cstring>

#include "gpu_server/software_gpu/exec/heap.h"
#include "gpu_server/software_gpu/exec/isa/lanes.h"
#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {
namespace {

constexpr unsigned kDepthMax = 24;               // as the guide says
constexpr std::size_t kChildrenMax = 64 * 1024;  // of one grid

enum DeviceError : u32 {
  kFine = 0,
  kInvalidValue = 1,
  kTooDeep = 5,
  kInvalidConfiguration = 7,
  kTooManyPending = 12,
};

// What lies in front of a parameter buffer. Kernels may write it, so it is checked when it is used.
struct Header {
  u64 function;
  u32 grid[3], block[3];
  u32 shared_bytes;
};
constexpr u64 kHeaderBytes = 64;  // parameters are aligned to as much
static_assert(sizeof(Header) <= kHeaderBytes);

const Kernel* entry_of(const LaunchState& launch, u64 tag) {
  if (tag < kFunctionTag || tag % 16 != 0) return nullptr;
  return launch.origin->entry((tag - kFunctionTag) / 16);
}

u64 parameter_buffer(Warp& w, const CallSite& site, int lane) {
  const LaunchState& launch = *w.worker->launch;
  Header header{};
  header.function = call_argument(w, site, 0, lane);
  const Kernel* kernel = entry_of(launch, header.function);
  if (kernel == nullptr || site.arguments.size() != 4 || site.arguments[1].bytes != 12 ||
      site.arguments[2].bytes != 12) {
    return 0;
  }
  std::memcpy(header.grid, call_local(w, lane) + site.arguments[1].offset, 12);
  std::memcpy(header.block, call_local(w, lane) + site.arguments[2].offset, 12);
  header.shared_bytes = static_cast<u32>(call_argument(w, site, 3, lane));
  const u64 block = launch.heap->allocate(kHeaderBytes + kernel->param_bytes());
  if (block == 0) return 0;
  std::memcpy(reinterpret_cast<void*>(block), &header, sizeof header);
  return block + kHeaderBytes;
}

// Takes what is in the parameter buffer over, or says why not.
DeviceError queue_child(LaunchState& launch, u64 block) {
  if (!launch.memory->contains(block, kHeaderBytes)) return kInvalidValue;
  Header header;
  std::memcpy(&header, reinterpret_cast<const void*>(block), sizeof header);
  ChildLaunch child;
  child.kernel = entry_of(launch, header.function);
  if (child.kernel == nullptr) return kInvalidValue;
  std::copy_n(header.grid, 3, child.grid);
  std::copy_n(header.block, 3, child.block);
  child.shared_bytes = header.shared_bytes;
  child.heap_block = block;
  const Launch checked = launch_of(child, *launch.memory);
  if (checked.kernel == nullptr) return kInvalidValue;
  if (!is_shape_valid(checked)) return kInvalidConfiguration;
  if (launch.depth + 1 >= kDepthMax) return kTooDeep;
  auto children = launch.children.lock();
  if (children->size() >= kChildrenMax) return kTooManyPending;
  children->push_back(child);
  return kFine;
}

DeviceError launch_child(Warp& w, const CallSite& site, int lane) {
  LaunchState& launch = *w.worker->launch;
  const u64 block = call_argument(w, site, 0, lane) - kHeaderBytes;
  const DeviceError error = queue_child(launch, block);
  if (error != kFine) (void)launch.heap->release(block);
  return error;
}

// Writes where a kernel said; false when that is nowhere it may write.
bool put_result(const Warp& w, u64 address, u64 value, std::size_t bytes) {
  if (reachable_bytes(w, address) < bytes) return false;
  std::memcpy(reinterpret_cast<void*>(address), &value, bytes);
  return true;
}

u64 answer(Warp& w, const CallSite& site, int lane) {
  LaunchState& launch = *w.worker->launch;
  const u64 first = call_argument(w, site, 0, lane);
  switch (site.library) {
    case Library::kParameterBuffer: return parameter_buffer(w, site, lane);
    case Library::kLaunchDevice: return launch_child(w, site, lane);
    case Library::kNewStreamOrEvent: return put_result(w, first, 1, 8) ? kFine : kInvalidValue;
    case Library::kGetDevice: return put_result(w, first, 0, 4) ? kFine : kInvalidValue;
    case Library::kGetDeviceCount: return put_result(w, first, 1, 4) ? kFine : kInvalidValue;
    case Library::kSetLastError: launch.device_error.store(static_cast<u32>(first)); return first;
    case Library::kGetLastError: return launch.device_error.exchange(0);
    default: return kFine;
  }
}

}  // namespace

const Ins* device_runtime_call(Warp& w, const Ins* i, const CallSite& site) {
  for (u32 m = w.mask; m != 0; m &= m - 1) {
    const int lane = __builtin_ctz(m);
    call_result(w, site, lane, answer(w, site, lane));
  }
  return i + 1;
}

Launch launch_of(const ChildLaunch& child, const Memory& memory) {
  Launch launch;
  const std::size_t bytes = child.kernel->param_bytes();
  if (!memory.contains(child.heap_block, kHeaderBytes + bytes)) return launch;
  launch.kernel = child.kernel;
  std::copy_n(child.grid, 3, launch.grid);
  std::copy_n(child.block, 3, launch.block);
  launch.dynamic_shared_bytes = child.shared_bytes;
  launch.params = {reinterpret_cast<const std::byte*>(child.heap_block + kHeaderBytes), bytes};
  return launch;
}

}  // namespace farcall::softgpu
