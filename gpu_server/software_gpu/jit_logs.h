// JitLogs: the buffers that compiler and linker options name for what the driver has to say.
//
//   JitLogs logs;
//   if (CUresult bad = logs.read(count, options, values)) return bad;
//   …
//   logs.error.write(why);   // cut off at the buffer's end; its size option becomes the length
//
// Everything else that options steer is a compiler that is not here, and is taken without effect.
// Owner: a call, or a LinkJob: buffers and option values are the caller's and must outlive it.
// Threads: one.  Source: CUDA Driver API 13.0, CUjit_option.
#pragma once
#include <cstddef>
#include <string_view>

#include "transport/cuda/cuda_abi.h"

namespace farcall::softgpu {

struct JitLogs {
  struct Log {
    char* at = nullptr;
    std::size_t bytes = 0;
    void** size = nullptr;  // the option's value

    void write(std::string_view text) const;
  };
  Log info, error;

  // Errors: CUDA_ERROR_INVALID_VALUE for arrays that are missing, options that do not exist, and
  // more of them than 256.
  CUresult read(unsigned count, const CUjit_option* options, void** values);
};

}  // namespace farcall::softgpu
