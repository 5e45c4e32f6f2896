// What a program sets about core dumps of its kernels: kept, read back, and nothing more.
//
//   CUresult done = coredump_settings().set(nullptr, CU_COREDUMP_FILE, text, &bytes);
//
// Neither the shim nor the software GPU writes such a dump: on a server it would be a tenant's
// memory on somebody else's disk. A setting of a context overrides the one for all contexts; one
// that the environment made when CUDA started cannot be changed, as cuda-gdb's manual says.
// Owner: the process; never destroyed.  Threads: any.
// Source: CUDA Driver API 13.0, Coredump Attributes Control API.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "transport/base/guarded.h"
#include "transport/base/program_limits.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::cuda {

class CoredumpSettings {
 public:
  using GetEnv = char* (*)(const char*);
  explicit CoredumpSettings(GetEnv environment);

  // context: null for all contexts. With a null `value` only *size is written.
  // Errors: CUDA_ERROR_INVALID_VALUE (null size, unknown attribute, too little room),
  // CUDA_ERROR_NOT_PERMITTED (of one context where only all have it; the pipe once it is used),
  // CUDA_ERROR_OUT_OF_MEMORY (settings for too many contexts).
  CUresult get(CUcontext context, CUcoredumpSettings which, void* value, std::size_t* size);
  CUresult set(CUcontext context, CUcoredumpSettings which, void* value, std::size_t* size);

 private:
  struct Value {
    std::string bytes;      // as the program passes it, a text with its NUL
    bool is_fixed = false;  // by the environment
  };
  using Values = std::map<int, Value>;
  struct State {
    Values all;
    std::map<CUcontext, Values> own;
  };
  void take_flag(const char* name, CUcoredumpSettings which);
  void take_text(const char* name, CUcoredumpSettings which, const char* fallback);
  void take_number(const char* name, CUcoredumpSettings which);

  const GetEnv environment_;
  Guarded<State> state_;
};

CoredumpSettings& coredump_settings();

}  // namespace farcall::cuda
