// JitOptions: compiler options in the form CUDA passes them: values are numbers or, for logs, host
// buffers.
//
//   JitOptions jit;
//   CUresult read = JitOptions::read(count, options, values, &jit);
//   …                                     // jit.put(out) sends what the server gets
//   take_logs(reply.in, jit);             // what the driver said, into the program's buffers
//
// Owner: a call, or a link for its life.  Threads: one.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "transport/cuda/cuda_abi.h"
#include "transport/wire/reader.h"
#include "transport/wire/writer.h"

namespace farcall::shim {

struct JitOptions {
  struct Plain {
    std::uint32_t option = 0;
    std::uint64_t value = 0;
  };
  std::vector<Plain> plain;  // what the server gets
  // Where the driver's words go; sizes as the program gave them.
  struct Log {
    char* at = nullptr;
    std::size_t bytes = 0;
    void** size_slot = nullptr;  // the option's value, which CUDA overwrites with the length
  };
  Log info;
  Log error;

  // Errors: CUDA_ERROR_INVALID_VALUE (null arrays), CUDA_ERROR_NOT_SUPPORTED (an option that passes
  // a pointer we cannot send).
  static CUresult read(unsigned count, const CUjit_option* options, void** values, JitOptions* out);

  // The options as a request has them, LoadOption after LoadOption (transport/api/hand.h).
  void put(wire::Writer& out) const;
};

// Takes the two logs of a reply into the program's buffers.
void take_logs(wire::Reader& in, const JitOptions& jit);

}  // namespace farcall::shim
