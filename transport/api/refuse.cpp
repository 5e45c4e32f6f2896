#include "transport/api/refuse.h"

#include "transport/base/log.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::api {

int refuse(std::atomic_flag& said, const char* function, const char* why) noexcept {
  if (!said.test_and_set(std::memory_order_relaxed)) {
    FARCALL_LOG_WARN("%s is refused: %s", function, why);
  }
  return CUDA_ERROR_NOT_SUPPORTED;
}

}  // namespace farcall::api
