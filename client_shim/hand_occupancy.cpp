// The block size that keeps a device busiest: a search, because the program gives a function from
// block size to shared memory, which only this process can call.
#include <algorithm>

#include "client_shim/behind.h"
#include "client_shim/entry.h"

using farcall::shim::Client;
using farcall::shim::Device;
using farcall::shim::id_of;
using farcall::shim::with_client;

namespace {

struct Search {
  CUfunction function;
  CUoccupancyB2DSize shared_of;
  std::size_t shared_bytes;
  int limit;
  unsigned flags;
};

CUresult search(Client& client, const Search& wish, int* grid_min, int* block) {
  int ordinal = 0;
  if (CUresult device = client.current_device(&ordinal); device != CUDA_SUCCESS) return device;
  const Device& device = *client.snapshot().device(ordinal);
  int warp = std::max(1, device.attribute_or(CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32));
  int most = device.attribute_or(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024);
  int full = device.attribute_or(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, 2048);
  if (auto kernel = client.functions().find(id_of(wish.function))) {
    if (kernel->max_threads > 0) most = std::min(most, kernel->max_threads);
  }
  if (wish.limit > 0) most = std::min(most, wish.limit);
  int best = 0;
  for (int round = (most + warp - 1) / warp * warp; round > 0; round -= warp) {
    int size = std::min(round, most);
    std::size_t shared = wish.shared_of != nullptr ? wish.shared_of(size) : wish.shared_bytes;
    int blocks = 0;
    CUresult asked = cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(&blocks, wish.function,
                                                                          size, shared, wish.flags);
    if (asked != CUDA_SUCCESS) return asked;
    if (blocks * size <= best) continue;
    best = blocks * size;
    *block = size;
    *grid_min = blocks * device.attribute_or(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 1);
    if (best >= full) break;
  }
  return CUDA_SUCCESS;
}

}  // namespace

FARCALL_EXPORT cuOccupancyMaxPotentialBlockSizeWithFlags(
    int* minGridSize, int* blockSize, CUfunction func,
    CUoccupancyB2DSize blockSizeToDynamicSMemSize, size_t dynamicSMemSize, int blockSizeLimit,
    unsigned int flags) {
  return with_client([&](Client& client) {
    if (minGridSize == nullptr || blockSize == nullptr || blockSizeLimit < 0) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (func == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    return search(client,
                  {func, blockSizeToDynamicSMemSize, dynamicSMemSize, blockSizeLimit, flags},
                  minGridSize, blockSize);
  });
}

FARCALL_EXPORT cuOccupancyMaxPotentialBlockSize(int* minGridSize, int* blockSize, CUfunction func,
                                                CUoccupancyB2DSize blockSizeToDynamicSMemSize,
                                                size_t dynamicSMemSize, int blockSizeLimit) {
  return cuOccupancyMaxPotentialBlockSizeWithFlags(
      minGridSize, blockSize, func, blockSizeToDynamicSMemSize, dynamicSMemSize, blockSizeLimit, 0);
}
