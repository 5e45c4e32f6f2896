#include "gpu_server/software_gpu/device.h"

#include <cstring>

#include "gpu_server/software_gpu/seen_devices.h"

namespace farcall::softgpu {

Result<std::unique_ptr<Device>> Device::create(int ordinal, const Config& config) {
  auto memory = Memory::create(config.memory_bytes);
  if (!memory.ok()) return memory.status();
  return std::unique_ptr<Device>(new Device(ordinal, config, std::move(memory).value()));
}

Device::Device(int ordinal, const Config& config, std::unique_ptr<Memory> memory)
    : ordinal_(ordinal),
      config_(config),
      memory_(std::move(memory)),
      runner_(make_runner(*memory_, config.threads)),
      primary_(std::make_shared<Context>(*this, 0U, true)),
      default_pool_(std::make_shared<Pool>(*this)),
      pool_(default_pool_) {
  // A fixed pattern with the number at its end: stable, distinct and clearly not NVIDIA's.
  std::memcpy(uuid_.bytes, "farcall-softgpu", 15);
  uuid_.bytes[15] = static_cast<char>(machine_number(ordinal));
}

void Device::retain_primary() {
  auto uses = primary_uses_.lock();
  ++*uses;
  primary_->activate();
}

bool Device::release_primary() {
  auto uses = primary_uses_.lock();
  if (*uses == 0) return false;
  if (--*uses == 0) primary_->clear();
  return true;
}

void Device::reset_primary() {
  auto uses = primary_uses_.lock();
  primary_->clear();
}

}  // namespace farcall::softgpu
