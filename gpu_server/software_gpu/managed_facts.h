// What the program has said about its managed memory: advice and prefetches, of the whole process.
//
//   managed_facts().advise({address, bytes}, advice, location, device_count);
//
// Owner: the process; leaked, as the driver is.  Threads: any.
#pragma once
#include "transport/cuda/range_facts.h"

namespace farcall::softgpu {

cuda::RangeFacts& managed_facts();

}  // namespace farcall::softgpu
