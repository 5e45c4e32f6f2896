// LaunchSettings: what cuFuncSetBlockShape, cuParamSetv and their like leave with a function for
// cuLaunch, the way CUDA launched before version 4.
//
//   settings.set_block(function, 256, 1, 1);
//   settings.set_param(function, 0, &address, sizeof(address));
//   LaunchSettings::Of now = settings.of(function);
//
// Nobody checks here that the function exists: who exports the interface does. Settings stay when a
// module goes, because nothing tells of that.
// Owner: the process; never destroyed.  Threads: any.
#pragma once
#include <unordered_map>
#include <vector>

#include "transport/base/guarded.h"
#include "transport/base/limits.h"
#include "transport/base/program_limits.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::cuda {

class LaunchSettings {
 public:
  struct Of {
    unsigned block[3] = {1, 1, 1};
    unsigned shared_bytes = 0;
    std::size_t param_bytes = 0;
    std::vector<std::byte> params;  // at least param_bytes of them
  };
  // Errors, of all: CUDA_ERROR_INVALID_VALUE (out of range), CUDA_ERROR_OUT_OF_MEMORY (too many
  // functions).
  CUresult set_block(CUfunction function, int x, int y, int z);
  CUresult set_shared(CUfunction function, unsigned bytes);
  CUresult set_param_bytes(CUfunction function, unsigned bytes);
  //   offset + bytes  at most limits::kKernelParamBytesMax
  CUresult set_param(CUfunction function, int offset, const void* from, std::size_t bytes);
  Of of(CUfunction function);

 private:
  using Map = std::unordered_map<CUfunction, Of>;
  static Of* find(Map& map, CUfunction function);
  Guarded<Map> state_;
};

LaunchSettings& launch_settings();

}  // namespace farcall::cuda
