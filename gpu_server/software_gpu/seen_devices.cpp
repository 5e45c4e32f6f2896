#include "gpu_server/software_gpu/seen_devices.h"

#include <array>
#include <cstring>
#include <span>

#include "gpu_server/software_gpu/config.h"
#include "transport/cuda/visible_devices.h"

namespace farcall::softgpu {
namespace {

// What is to be added to an ordinal, so that all zero is right for who never chose.
std::array<int, kDevicesMax> g_offsets{};

}  // namespace

int choose_seen_devices(int devices, char* (*lookup)(const char* name)) {
  std::array<cuda::DeviceIdentity, kDevicesMax> all{};
  for (int number = 0; number < devices; ++number) {
    cuda::DeviceIdentity& one = all[static_cast<std::size_t>(number)];
    std::memcpy(one.uuid.bytes, "farcall-softgpu", 15);
    one.uuid.bytes[15] = static_cast<char>(number);
    one.pci = {0, number + 1, 0};
  }
  int seen = 0;
  for (std::size_t number :
       cuda::choose_devices(std::span(all).first(static_cast<std::size_t>(devices)),
                            lookup("CUDA_VISIBLE_DEVICES"), lookup("CUDA_DEVICE_ORDER"))) {
    g_offsets[static_cast<std::size_t>(seen)] = static_cast<int>(number) - seen;
    ++seen;
  }
  return seen;
}

int machine_number(int ordinal) { return ordinal + g_offsets[static_cast<std::size_t>(ordinal)]; }

}  // namespace farcall::softgpu
