// The session's own messages: cuInit with its snapshot, bind_context, end_thread.
// Bodies: transport/api/hand.h.
#include <cstring>

#include "gpu_server/contexts.h"
#include "gpu_server/rows.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;

constexpr int kAttributes = CU_DEVICE_ATTRIBUTE_MAX - 1;

// One device of the snapshot. Functions that a driver lacks leave zeros.
void put_device(Call& call, int device) {
  const Driver& driver = call.driver;
  hand::DeviceFacts facts{};
  facts.primary_context = call.contexts.primary_id(device);
  std::size_t bytes = 0;
  if (driver.cuDeviceTotalMem_v2 != nullptr) (void)driver.cuDeviceTotalMem_v2(&bytes, device);
  facts.memory_bytes = bytes;
  CUuuid uuid{};
  if (driver.cuDeviceGetUuid_v2 != nullptr) (void)driver.cuDeviceGetUuid_v2(&uuid, device);
  static_assert(sizeof uuid == sizeof facts.uuid);
  std::memcpy(facts.uuid, &uuid, sizeof uuid);
  // One byte less than there is room, so that a NUL always ends it.
  if (driver.cuDeviceGetPCIBusId != nullptr) {
    (void)driver.cuDeviceGetPCIBusId(facts.pci_bus_id, sizeof facts.pci_bus_id - 1, device);
  }
  if (driver.cuDeviceGetName != nullptr) {
    (void)driver.cuDeviceGetName(facts.name, sizeof facts.name - 1, device);
  }
  call.out.put(facts);
  for (int attribute = 1; attribute <= kAttributes; ++attribute) {
    int value = 0;
    bool told = driver.cuDeviceGetAttribute != nullptr &&
                driver.cuDeviceGetAttribute(&value, static_cast<CUdevice_attribute>(attribute),
                                            device) == CUDA_SUCCESS;
    call.out.put(told ? std::int32_t{value} : hand::kNoAttribute);
  }
}

Verdict open(Call& call) {
  auto request = call.in.get<hand::OpenRequest>();
  if (!call.in.done() || request.version != hand::kOpenVersion ||
      request.server >= limits::kServersMax) {
    return Verdict::kMalformed;
  }
  if (CUresult opened = call.contexts.open(request.server); opened != CUDA_SUCCESS)
    return call.status(opened);
  hand::OpenReply reply{};
  if (call.driver.cuDriverGetVersion != nullptr) {
    (void)call.driver.cuDriverGetVersion(&reply.driver_version);
  }
  reply.device_count = static_cast<std::uint32_t>(call.contexts.device_count());
  reply.attribute_count = static_cast<std::uint32_t>(kAttributes);
  call.status(CUDA_SUCCESS);
  call.out.put(reply);
  for (int device = 0; device < call.contexts.device_count(); ++device) put_device(call, device);
  return Verdict::kAnswered;
}

// Whether the context exists shows when the thread's next call needs it.
Verdict bind_context(Call& call) {
  auto bind = call.in.get<hand::BindContext>();
  if (!call.in.done()) return Verdict::kMalformed;
  call.thread.context_id = bind.context;
  return call.status(CUDA_SUCCESS);
}

// The number may come again for another thread, which then reports what this one left unreported.
Verdict end_thread(Call& call) {
  if (!call.in.done()) return Verdict::kMalformed;
  for (auto& [context, id] : call.thread.own_streams) {
    auto* stream = static_cast<CUstream>(call.handles.find(Kind::kStream, id));
    if (stream == nullptr) continue;
    call.handles.drop(Kind::kStream, id);
    if (call.driver.cuStreamDestroy_v2 != nullptr) (void)call.driver.cuStreamDestroy_v2(stream);
  }
  call.thread.own_streams.clear();
  call.thread.context_id = 0;
  return call.status(CUDA_SUCCESS);
}

}  // namespace

std::span<const HandRow> hand_session_rows() {
  static const HandRow rows[] = {
      {row::cuInit::info(), open},
      {row::bind_context::info(), bind_context},
      {row::end_thread::info(), end_thread},
  };
  return rows;
}

}  // namespace farcall::server
