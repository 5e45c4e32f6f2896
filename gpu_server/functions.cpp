#include "gpu_server/functions.h"

#include "transport/base/limits.h"

namespace farcall::server {
namespace {

ParamLayout ask(const Driver& driver, void* real, bool is_kernel) {
  ParamLayout layout;
  for (std::size_t index = 0; index <= limits::kKernelParamsMax; ++index) {
    std::size_t offset = 0;
    std::size_t bytes = 0;
    CUresult told = CUDA_ERROR_NOT_SUPPORTED;
    if (is_kernel && driver.cuKernelGetParamInfo != nullptr) {
      told = driver.cuKernelGetParamInfo(static_cast<CUkernel>(real), index, &offset, &bytes);
    } else if (!is_kernel && driver.cuFuncGetParamInfo != nullptr) {
      told = driver.cuFuncGetParamInfo(static_cast<CUfunction>(real), index, &offset, &bytes);
    }
    // One past the last parameter is CUDA_ERROR_INVALID_VALUE: that is how the list ends.
    if (told == CUDA_ERROR_INVALID_VALUE) {
      layout.known = true;
      return layout;
    }
    if (told != CUDA_SUCCESS) return {};
    if (bytes > limits::kKernelParamBytesMax - layout.total_bytes) return {};
    layout.total_bytes += static_cast<std::uint32_t>(bytes);
    layout.bytes.push_back(static_cast<std::uint32_t>(bytes));
  }
  return {};
}

}  // namespace

Functions::Layout Functions::layout(const Driver& driver, std::uint64_t id, void* real,
                                    bool is_kernel) {
  {
    auto known = known_.lock();
    if (auto found = known->find(id); found != known->end()) return found->second;
  }
  auto fresh = std::make_shared<const ParamLayout>(ask(driver, real, is_kernel));
  auto known = known_.lock();
  // Ids of unloaded modules stay behind; a client that loads and unloads for ever must not make us
  // grow for ever. What is thrown away is asked again.
  if (known->size() >= limits::kHandlesMax) known->clear();
  known->insert_or_assign(id, fresh);
  return fresh;
}

}  // namespace farcall::server
