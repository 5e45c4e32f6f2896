#include "gpu_server/lease_clock.h"

#include <ctime>

namespace farcall::server {
namespace {

class MachineTime : public TimeSource {
 public:
  std::int64_t wall_ns() const override { return read(CLOCK_REALTIME); }
  std::int64_t monotonic_ns() const override { return read(CLOCK_BOOTTIME); }

 private:
  static std::int64_t read(clockid_t which) {
    std::timespec now{};
    ::clock_gettime(which, &now);
    return now.tv_sec * std::int64_t{1'000'000'000} + now.tv_nsec;
  }
};

}  // namespace

const TimeSource& machine_time() {
  static const MachineTime time;
  return time;
}

}  // namespace farcall::server
