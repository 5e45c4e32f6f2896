// LinkJob: what cuLinkCreate … cuLinkComplete gather: PTX texts, and at the end one image of them.
//
// Owner: handle table.  Threads: one at a time, as CUDA asks of its callers.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

namespace farcall::softgpu {

struct LinkJob {
  std::vector<std::string> texts;
  std::vector<std::byte> image;  // a fatbin container; lives until cuLinkDestroy
};

}  // namespace farcall::softgpu
