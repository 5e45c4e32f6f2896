#include "gpu_server/software_gpu/pool.h"

#include "gpu_server/software_gpu/device.h"

namespace farcall::softgpu {

Pool::~Pool() {
  for (const auto& [peer, access] : *peers.lock()) peer->memory().deny(device.memory());
}

void Pool::set_access(Device& peer, CUmemAccess_flags access) {
  auto known = peers.lock();
  const bool had = known->contains(&peer);
  if (access == CU_MEM_ACCESS_FLAGS_PROT_NONE) {
    if (known->erase(&peer) != 0) peer.memory().deny(device.memory());
    return;
  }
  if (!had) peer.memory().allow(device.memory());
  (*known)[&peer] = access;
}

CUmemAccess_flags Pool::access(Device& peer) {
  if (&peer == &device) return CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  auto known = peers.lock();
  const auto found = known->find(&peer);
  return found == known->end() ? CU_MEM_ACCESS_FLAGS_PROT_NONE : found->second;
}

}  // namespace farcall::softgpu
