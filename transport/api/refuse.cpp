#include "transport/api/refuse.h"

#include <cstdio>

#include "transport/base/log.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::api {
namespace {

std::atomic<void (*)(const char*)> g_listener{nullptr};

}  // namespace

void tell_refusals_to(void (*listener)(const char* text)) noexcept { g_listener = listener; }

int refuse(std::atomic_flag& said, const char* function, const char* why) noexcept {
  if (!said.test_and_set(std::memory_order_relaxed)) {
    FARCALL_LOG_WARN("%s is refused: %s", function, why);
  }
  if (auto listener = g_listener.load(std::memory_order_relaxed); listener != nullptr) {
    char text[256];
    std::snprintf(text, sizeof(text), "%s is refused: %s", function, why);
    listener(text);
  }
  return CUDA_ERROR_NOT_SUPPORTED;
}

}  // namespace farcall::api
