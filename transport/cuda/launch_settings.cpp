#include "transport/cuda/launch_settings.h"

#include <cstring>

namespace farcall::cuda {

LaunchSettings::Of* LaunchSettings::find(Map& map, CUfunction function) {
  auto at = map.find(function);
  if (at != map.end()) return &at->second;
  if (map.size() >= limits::kSettledFunctionsMax) return nullptr;
  return &map[function];
}

CUresult LaunchSettings::set_block(CUfunction function, int x, int y, int z) {
  if (x <= 0 || y <= 0 || z <= 0) return CUDA_ERROR_INVALID_VALUE;
  auto map = state_.lock();
  Of* of = find(*map, function);
  if (of == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  of->block[0] = static_cast<unsigned>(x);
  of->block[1] = static_cast<unsigned>(y);
  of->block[2] = static_cast<unsigned>(z);
  return CUDA_SUCCESS;
}

CUresult LaunchSettings::set_shared(CUfunction function, unsigned bytes) {
  auto map = state_.lock();
  Of* of = find(*map, function);
  if (of == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  of->shared_bytes = bytes;
  return CUDA_SUCCESS;
}

CUresult LaunchSettings::set_param_bytes(CUfunction function, unsigned bytes) {
  if (bytes > limits::kKernelParamBytesMax) return CUDA_ERROR_INVALID_VALUE;
  auto map = state_.lock();
  Of* of = find(*map, function);
  if (of == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  of->param_bytes = bytes;
  if (of->params.size() < bytes) of->params.resize(bytes);
  return CUDA_SUCCESS;
}

CUresult LaunchSettings::set_param(CUfunction function, int offset, const void* from,
                                   std::size_t bytes) {
  if (from == nullptr || offset < 0) return CUDA_ERROR_INVALID_VALUE;
  const auto at = static_cast<std::size_t>(offset);
  if (bytes > limits::kKernelParamBytesMax || at > limits::kKernelParamBytesMax - bytes) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  auto map = state_.lock();
  Of* of = find(*map, function);
  if (of == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  if (of->params.size() < at + bytes) of->params.resize(at + bytes);
  if (bytes != 0) std::memcpy(of->params.data() + at, from, bytes);
  return CUDA_SUCCESS;
}

LaunchSettings::Of LaunchSettings::of(CUfunction function) {
  auto map = state_.lock();
  auto at = map->find(function);
  return at != map->end() ? at->second : Of{};
}

LaunchSettings& launch_settings() {
  static LaunchSettings* const leaked = new LaunchSettings;
  return *leaked;
}

}  // namespace farcall::cuda
