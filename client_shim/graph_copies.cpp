#include "client_shim/graph_copies.h"

#include <algorithm>
#include <set>

#include "client_shim/client.h"
#include "client_shim/copy.h"
#include "client_shim/entry.h"
#include "client_shim/stand_ins.h"
#include "transport/api/client_call.h"
#include "transport/api/rows.h"

namespace farcall::shim {

namespace row = api::row;

// Device memory of ours. Freed with its last user, behind the work that uses it.
struct GraphCopies::Mirror {
  Client& client;
  CUdeviceptr address = 0;
  CUcontext context = nullptr;
  Side host;                         // the program's memory
  std::atomic<bool> is_gone{false};  // with its context: the address may be anybody's

  explicit Mirror(Client& owner) : client(owner) {}
  ~Mirror() {
    if (address == 0 || is_gone) return;
    (void)client.allocations().take_device(address);
    // A failure is the context's.
    (void)api::call<row::cuMemFree_v2>(address);
  }
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;
};

namespace {

Side mirror_side(CUdeviceptr address, const Shape& shape) {
  return {Place::kDevice, address, shape.width, shape.rows, 0, 0, 0, 0};
}

Shape shape_of(const GraphCopies::Region& region, CUdeviceptr mirror) {
  Shape shape;
  shape.width = region.width;
  shape.rows = region.rows;
  shape.slices = region.slices;
  shape.from = shape.to = mirror_side(mirror, shape);
  (region.is_source ? shape.from : shape.to) = region.host;
  return shape;
}

bool is_same_memory(const GraphCopies::Region& region, const Side& host, const Shape& shape) {
  return region.host.row_at(0, 0) == host.row_at(0, 0) && region.width == shape.width &&
         region.rows == shape.rows && region.slices == shape.slices &&
         (shape.rows * shape.slices == 1 || region.host.pitch == host.pitch);
}

}  // namespace

CUresult GraphCopies::make_region(const Side& host, const Shape& shape, CUgraph graph,
                                  Region* region) {
  *region = {nullptr, host, shape.width, shape.rows, shape.slices, false};
  {
    auto state = state_.lock();
    for (const Item& item : state->graphs[graph]) {
      for (const Region& known : item.regions) {
        if (is_same_memory(known, host, shape)) region->mirror = known.mirror;
      }
    }
  }
  if (region->mirror != nullptr) return CUDA_SUCCESS;
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(shape.width, shape.rows, &bytes) ||
      __builtin_mul_overflow(bytes, shape.slices, &bytes) || bytes == 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  auto mirror = std::make_shared<Mirror>(client_);
  Allocation device;
  device.bytes = bytes;
  if (CUresult bad = allocate_stand_in(client_, &device); bad != CUDA_SUCCESS) return bad;
  mirror->address = device.address;
  mirror->context = device.context;
  mirror->host = host;
  {
    auto state = state_.lock();
    std::erase_if(state->mirrors, [](const auto& each) { return each.second.expired(); });
    state->mirrors[mirror->address] = mirror;
  }
  region->mirror = std::move(mirror);
  any_.store(true, std::memory_order_release);
  return CUDA_SUCCESS;
}

CUresult GraphCopies::stand_in(const Shape& shape, CUgraph graph, Shape* device, Regions* regions) {
  *device = shape;
  for (bool is_source : {true, false}) {
    const Side& host = is_source ? shape.from : shape.to;
    if (host.place != Place::kHost) continue;
    Region region;
    CUresult made = make_region(host, shape, graph, &region);
    if (made != CUDA_SUCCESS) return made;
    region.is_source = is_source;
    (is_source ? device->from : device->to) = mirror_side(region.mirror->address, shape);
    regions->push_back(std::move(region));
  }
  return CUDA_SUCCESS;
}

CUresult GraphCopies::stand_in(const CUDA_MEMCPY3D& copy, CUgraph graph, CUDA_MEMCPY3D* device,
                               Regions* regions) {
  Shape shape, placed;
  CUresult read = shim::shape_of(client_.allocations(), copy, &shape);
  if (read != CUDA_SUCCESS) return read;
  if (shape.width == 0 || shape.rows == 0 || shape.slices == 0) return CUDA_ERROR_INVALID_VALUE;
  *device = copy;
  // Unified addresses are told apart here: what is the host's for us may be anything there.
  if (copy.srcMemoryType == CU_MEMORYTYPE_UNIFIED) device->srcMemoryType = CU_MEMORYTYPE_DEVICE;
  if (copy.dstMemoryType == CU_MEMORYTYPE_UNIFIED) device->dstMemoryType = CU_MEMORYTYPE_DEVICE;
  read = stand_in(shape, graph, &placed, regions);
  if (read != CUDA_SUCCESS) return read;
  if (shape.from.place == Place::kHost) {
    device->srcMemoryType = CU_MEMORYTYPE_DEVICE;
    device->srcHost = nullptr;
    device->srcDevice = placed.from.at;
    device->srcPitch = placed.from.pitch;
    device->srcHeight = placed.from.height;
    device->srcXInBytes = device->srcY = device->srcZ = device->srcLOD = 0;
  }
  if (shape.to.place == Place::kHost) {
    device->dstMemoryType = CU_MEMORYTYPE_DEVICE;
    device->dstHost = nullptr;
    device->dstDevice = placed.to.at;
    device->dstPitch = placed.to.pitch;
    device->dstHeight = placed.to.height;
    device->dstXInBytes = device->dstY = device->dstZ = device->dstLOD = 0;
  }
  return CUDA_SUCCESS;
}

void GraphCopies::restore(CUDA_MEMCPY3D* copy) {
  std::shared_ptr<Mirror> from, to;  // perhaps their last owners: they go after the lock
  auto state = state_.lock();
  auto mirror_at = [&](CUmemorytype type, CUdeviceptr address) -> std::shared_ptr<Mirror> {
    auto at = state->mirrors.find(address);
    const bool is_ours = type == CU_MEMORYTYPE_DEVICE && at != state->mirrors.end();
    return is_ours ? at->second.lock() : nullptr;
  };
  from = mirror_at(copy->srcMemoryType, copy->srcDevice);
  to = mirror_at(copy->dstMemoryType, copy->dstDevice);
  if (from != nullptr) {
    const Side& host = from->host;
    copy->srcMemoryType = CU_MEMORYTYPE_HOST;
    copy->srcHost = reinterpret_cast<const void*>(host.at);
    copy->srcDevice = 0;
    copy->srcPitch = host.pitch;
    copy->srcHeight = host.height;
    copy->srcXInBytes = host.x;
    copy->srcY = host.y;
    copy->srcZ = host.z;
  }
  if (to != nullptr) {
    const Side& host = to->host;
    copy->dstMemoryType = CU_MEMORYTYPE_HOST;
    copy->dstHost = reinterpret_cast<void*>(host.at);
    copy->dstDevice = 0;
    copy->dstPitch = host.pitch;
    copy->dstHeight = host.height;
    copy->dstXInBytes = host.x;
    copy->dstY = host.y;
    copy->dstZ = host.z;
  }
}

void GraphCopies::drop_context(CUcontext context) {
  if (!any_.load(std::memory_order_acquire)) return;
  std::vector<std::shared_ptr<Mirror>> gone;  // they go after the lock
  auto state = state_.lock();
  for (const auto& [address, mirror] : state->mirrors) {
    auto held = mirror.lock();
    if (held != nullptr && held->context == context) gone.push_back(std::move(held));
  }
  for (const auto& mirror : gone) {
    mirror->is_gone = true;
    state->mirrors.erase(mirror->address);
  }
  state->chains.erase(context);
  state->side_streams.erase(context);
}

CUresult GraphCopies::capture(const Shape& shape, const CaptureInfo& info, CUstream stream) {
  Shape device;
  Regions regions;
  CUresult placed = stand_in(shape, info.graph, &device, &regions);
  if (placed == CUDA_SUCCESS) placed = copy_shape(client_, device, stream, true);
  if (placed != CUDA_SUCCESS) return placed;
  CaptureInfo now;
  placed = capture_info(client_, stream, &now);
  CUgraphNode node = now.nodes.size() == 1 ? now.nodes[0] : nullptr;
  added(info.graph, node, std::move(regions));
  return placed;
}

CUresult GraphCopies::follow(CUcontext context, CUstream stream) {
  const std::uint32_t thread = stream == CU_STREAM_PER_THREAD ? client_.this_thread().number : 0;
  Chain chain;
  {
    auto state = state_.lock();
    chain = state->chains[context];
  }
  if (chain.event == nullptr) {
    CUresult made = api::call<row::cuEventCreate>(&chain.event, CU_EVENT_DISABLE_TIMING);
    if (made != CUDA_SUCCESS) return made;
    chain.last = stream;
    chain.thread = thread;
    state_.lock()->chains[context] = chain;
    return CUDA_SUCCESS;
  }
  if (chain.last == stream && chain.thread == thread) return CUDA_SUCCESS;
  return api::call<row::cuStreamWaitEvent>(stream, chain.event, 0U);
}

void GraphCopies::mark(CUcontext context, CUstream stream) {
  CUevent event = nullptr;
  {
    auto state = state_.lock();
    Chain& chain = state->chains[context];
    chain.last = stream;
    chain.thread = stream == CU_STREAM_PER_THREAD ? client_.this_thread().number : 0;
    event = chain.event;
  }
  // Without it the next launch on another stream would only come too early.
  (void)api::call<row::cuEventRecord>(event, stream);
}

CUresult GraphCopies::launch(CUgraphExec exec, CUstream stream) {
  std::shared_ptr<Plan> plan;
  if (any_.load(std::memory_order_acquire)) {
    auto state = state_.lock();
    auto at = state->plans.find(exec);
    if (at != state->plans.end()) plan = at->second;
  }
  if (plan == nullptr || (plan->sources.empty() && plan->targets.empty())) {
    return api::call<row::cuGraphLaunch>(exec, stream);
  }
  const CUcontext context = client_.this_thread().current();
  CaptureInfo info;
  if (client_.completions().is_capturing()) {
    CUresult asked = capture_info(client_, stream, &info);
    if (asked != CUDA_SUCCESS) return asked;
  }
  const bool is_captured = info.is_active();
  CUresult done = is_captured ? CUDA_SUCCESS : follow(context, stream);
  for (const Region& region : plan->sources) {
    if (done != CUDA_SUCCESS) return done;
    done = copy_shape(client_, shape_of(region, region.mirror->address), stream, true);
  }
  if (done == CUDA_SUCCESS) done = api::call<row::cuGraphLaunch>(exec, stream);
  for (const Region& region : plan->targets) {
    if (done != CUDA_SUCCESS) return done;
    done = land_shape(client_, shape_of(region, region.mirror->address), stream);
  }
  if (done != CUDA_SUCCESS || is_captured) return done;
  mark(context, stream);
  // Functions fetch what was copied before them, and a server that a driver holds up behind such a
  // function, with a payload for what comes next, could not serve that.
  const bool fetches = std::any_of(
      plan->functions.begin(), plan->functions.end(),
      [](const auto& each) { return !each.second.before.empty() || !each.second.after.empty(); });
  return fetches ? api::call<row::cuStreamSynchronize>(stream) : CUDA_SUCCESS;
}

void GraphCopies::before_function(std::uint64_t function) { transfer(function, true); }
void GraphCopies::after_function(std::uint64_t function) { transfer(function, false); }

void GraphCopies::transfer(std::uint64_t function, bool is_before) {
  if (!any_.load(std::memory_order_acquire)) return;
  Regions all;
  {
    auto state = state_.lock();
    for (const auto& [exec, plan] : state->plans) {
      auto at = plan->functions.find(function);
      if (at == plan->functions.end()) continue;
      const Regions& more = is_before ? at->second.before : at->second.after;
      all.insert(all.end(), more.begin(), more.end());
    }
  }
  std::set<CUstream> used;
  for (const Region& region : all) {
    const CUcontext context = region.mirror->context;
    client_.this_thread().set_current(context);
    CUstream side = state_.lock()->side_streams[context];
    if (side == nullptr) {
      const auto flags = static_cast<unsigned>(CU_STREAM_NON_BLOCKING);
      if (api::call<row::cuStreamCreate>(&side, flags) != CUDA_SUCCESS) return;
      state_.lock()->side_streams[context] = side;
    }
    // A failure is the context's, and the program hears of it by its next call.
    (void)copy_shape(client_, shape_of(region, region.mirror->address), side, true);
    used.insert(side);
  }
  for (CUstream side : used) (void)api::call<row::cuStreamSynchronize>(side);
}

}  // namespace farcall::shim
