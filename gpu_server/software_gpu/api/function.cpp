// Functions: what a kernel says about itself; occupancy.
// Source: CUDA Driver API 13.0, Execution Control and Occupancy.
#include <algorithm>

#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/launch.h"
#include "gpu_server/software_gpu/thread_state.h"

namespace farcall::softgpu {
namespace {

// Questions about a function need no usable context, only a place to look a CUkernel up in.
CUresult find(CUfunction handle, std::shared_ptr<Function>* function) {
  if (CUresult failed = require_driver()) return failed;
  Context* current = this_thread().current();
  // After a fault every call tells of it.
  if (current != nullptr && current->status() != CUDA_SUCCESS) return current->status();
  Context& context = current != nullptr ? current->home() : driver().device(0)->primary();
  return find_function(handle, context, function);
}

struct BlockChoice {
  int threads = 0;
  int resident = 0;
};

// The block size that keeps most threads resident; the largest of equals, as CUDA prefers.
BlockChoice best_block(const Function& function, CUoccupancyB2DSize dynamic_shared,
                       std::size_t fixed_shared, int limit) {
  int most = static_cast<int>(function.kernel->max_threads());
  if (limit > 0) most = std::min(most, limit);
  BlockChoice best;
  const int start = (most + kWarpThreads - 1) / kWarpThreads * kWarpThreads;
  for (int threads = start; threads > 0; threads -= kWarpThreads) {
    const int tried = std::min(threads, most);
    const std::size_t shared = dynamic_shared != nullptr ? dynamic_shared(tried) : fixed_shared;
    const int resident = resident_blocks(function, tried, shared);
    if (resident * tried > best.resident * best.threads) best = {tried, resident};
  }
  return best;
}

}  // namespace
}  // namespace farcall::softgpu

using namespace farcall::softgpu;

extern "C" {

CUresult cuFuncGetAttribute(int* pi, CUfunction_attribute attrib, CUfunction hfunc) {
  std::shared_ptr<Function> function;
  if (CUresult failed = find(hfunc, &function)) return failed;
  if (pi == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return function->attribute(attrib, pi);
}

CUresult cuFuncSetAttribute(CUfunction hfunc, CUfunction_attribute attrib, int value) {
  std::shared_ptr<Function> function;
  if (CUresult failed = find(hfunc, &function)) return failed;
  return function->settings.set(attrib, value, *function->kernel);
}

CUresult cuFuncSetCacheConfig(CUfunction hfunc, CUfunc_cache) {
  std::shared_ptr<Function> function;
  return find(hfunc, &function);
}

CUresult cuFuncSetSharedMemConfig(CUfunction hfunc, CUsharedconfig) {
  std::shared_ptr<Function> function;
  return find(hfunc, &function);
}

CUresult cuFuncGetModule(CUmodule* hmod, CUfunction hfunc) {
  std::shared_ptr<Function> function;
  if (CUresult failed = find(hfunc, &function)) return failed;
  if (hmod == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *hmod = reinterpret_cast<CUmodule>(function->module.get());
  return CUDA_SUCCESS;
}

CUresult cuFuncGetName(const char** name, CUfunction hfunc) {
  std::shared_ptr<Function> function;
  if (CUresult failed = find(hfunc, &function)) return failed;
  if (name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *name = function->kernel->name().c_str();  // lives as long as the module
  return CUDA_SUCCESS;
}

CUresult cuFuncGetParamInfo(CUfunction func, size_t paramIndex, size_t* paramOffset,
                            size_t* paramSize) {
  std::shared_ptr<Function> function;
  if (CUresult failed = find(func, &function)) return failed;
  const auto& params = function->kernel->params();
  if (paramOffset == nullptr || paramIndex >= params.size()) return CUDA_ERROR_INVALID_VALUE;
  *paramOffset = params[paramIndex].offset;
  if (paramSize != nullptr) *paramSize = params[paramIndex].size;
  return CUDA_SUCCESS;
}

CUresult cuFuncIsLoaded(CUfunctionLoadingState* state, CUfunction func) {
  std::shared_ptr<Function> function;
  if (CUresult failed = find(func, &function)) return failed;
  if (state == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *state = function->kernel->body() != nullptr ? CU_FUNCTION_LOADING_STATE_LOADED
                                               : CU_FUNCTION_LOADING_STATE_UNLOADED;
  return CUDA_SUCCESS;
}

CUresult cuFuncLoad(CUfunction func) {
  std::shared_ptr<Function> function;
  if (CUresult failed = find(func, &function)) return failed;
  return to_curesult(function->kernel->decode());
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* numBlocks, CUfunction func,
                                                              int blockSize, size_t dynamicSMemSize,
                                                              unsigned) {
  std::shared_ptr<Function> function;
  if (CUresult failed = find(func, &function)) return failed;
  if (numBlocks == nullptr || blockSize <= 0) return CUDA_ERROR_INVALID_VALUE;
  *numBlocks = resident_blocks(*function, blockSize, dynamicSMemSize);
  return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* numBlocks, CUfunction func, int blockSize,
                                                     size_t dynamicSMemSize) {
  return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(numBlocks, func, blockSize,
                                                              dynamicSMemSize, 0);
}

CUresult cuOccupancyMaxPotentialBlockSizeWithFlags(int* minGridSize, int* blockSize,
                                                   CUfunction func, CUoccupancyB2DSize sizeOf,
                                                   size_t dynamicSMemSize, int blockSizeLimit,
                                                   unsigned) {
  std::shared_ptr<Function> function;
  if (CUresult failed = find(func, &function)) return failed;
  if (minGridSize == nullptr || blockSize == nullptr || blockSizeLimit < 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const BlockChoice best = best_block(*function, sizeOf, dynamicSMemSize, blockSizeLimit);
  *blockSize = best.threads;
  *minGridSize = best.resident * function->module->context().device().processors();
  return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxPotentialBlockSize(int* minGridSize, int* blockSize, CUfunction func,
                                          CUoccupancyB2DSize sizeOf, size_t dynamicSMemSize,
                                          int blockSizeLimit) {
  return cuOccupancyMaxPotentialBlockSizeWithFlags(minGridSize, blockSize, func, sizeOf,
                                                   dynamicSMemSize, blockSizeLimit, 0);
}

CUresult cuOccupancyAvailableDynamicSMemPerBlock(size_t* dynamicSmemSize, CUfunction func,
                                                 int numBlocks, int blockSize) {
  std::shared_ptr<Function> function;
  if (CUresult failed = find(func, &function)) return failed;
  if (dynamicSmemSize == nullptr || numBlocks <= 0 || blockSize <= 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (numBlocks > resident_blocks(*function, blockSize, 0)) return CUDA_ERROR_INVALID_VALUE;
  const int fixed = static_cast<int>(function->kernel->static_shared_bytes());
  const int share = kSmSharedBytes / numBlocks - kReservedSharedBytes;
  *dynamicSmemSize =
      static_cast<std::size_t>(std::max(0, std::min(share, kBlockSharedBytesOptIn) - fixed));
  return CUDA_SUCCESS;
}
}
