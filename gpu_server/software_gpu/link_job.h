// LinkJob: what cuLinkCreate … cuLinkComplete gather: PTX texts, and at the end one image of them.
//
// Owner: handle table.  Threads: one at a time, as CUDA asks of its callers.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "gpu_server/software_gpu/jit_logs.h"

namespace farcall::softgpu {

struct LinkJob {
  std::vector<std::string> texts;
  std::vector<std::byte> image;  // a fatbin container; lives until cuLinkDestroy
  JitLogs logs;
  std::string said;  // what the error log has gathered

  // One more line for the error log.
  void complain(std::string_view why) {
    if (!said.empty()) said += '\n';
    said += why;
    logs.error.write(said);
  }
};

}  // namespace farcall::softgpu
