// receive_payload: a call's whole payload in memory of its own.
//
//   Result<SecureBuffer> bytes = receive_payload(call.bulk, 0, nullptr);
//
// For what a driver needs in one piece: images and what is linked. A client that announces much
// gets much memory only once it has sent a part of it. Threads: those of the call.
#pragma once
#include "gpu_server/bulk_in.h"
#include "gpu_server/module_cache.h"
#include "transport/base/secure_arena.h"

namespace farcall::server {

//   zeros   how many stand behind it, for drivers that look for an end
//   writer  keeps a copy; may be null
// Errors: kMalformed (no payload), kOverQuota (longer than limits::kModuleBytesMax), the link's.
Result<SecureBuffer> receive_payload(BulkIn& bulk, std::size_t zeros, ModuleCache::Writer* writer);

}  // namespace farcall::server
