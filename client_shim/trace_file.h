// The file under a trace: opening it beside other processes, and appending chunks.
//
//   Result<Fd> file = open_trace_file("/tmp/run-%p.trace");
//   append_chunk(file.value().get(), TraceChunkKind::kNames, head, "cuInit");
//
// Owner: the caller.  Threads: any, one at a time for each file.
#pragma once
#include <string>
#include <string_view>

#include "client_shim/trace_format.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::shim {

// A fresh file with its header, locked (flock) for as long as it is open. An older file of that
// name is replaced, one that another process is writing is not: then it is PATH.<pid>. Errors:
// kUnsupported (not a regular file), kBusy (another process writes PATH.<pid> too), kSystem.
Result<Fd> open_trace_file(const std::string& path);

// Returns how many bytes the file has grown by.  Errors: kSystem.
Result<std::uint64_t> append_chunk(int fd, TraceChunkKind kind, std::string_view head,
                                   std::string_view body);

}  // namespace farcall::shim
