#include "transport/api/device_numbers.h"

#include <atomic>

namespace farcall::api {
namespace {

int same(int device) noexcept { return device; }

constinit std::atomic<DeviceNumber> g_to_server{same};
constinit std::atomic<DeviceNumber> g_to_program{same};

}  // namespace

void set_device_numbers(DeviceNumber to_server, DeviceNumber to_program) noexcept {
  g_to_server.store(to_server);
  g_to_program.store(to_program);
}

int server_device(int program_device) noexcept {
  return g_to_server.load(std::memory_order_acquire)(program_device);
}

int program_device(int server_device) noexcept {
  return g_to_program.load(std::memory_order_acquire)(server_device);
}

}  // namespace farcall::api
