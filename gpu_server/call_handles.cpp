#include "gpu_server/call_handles.h"

#include "transport/base/log.h"

namespace farcall::server {
namespace {

LogLimit g_full_log(1);

}  // namespace

// What belongs to the process, not to a context: what is not among the resources that cuda.h's
// cuCtxDestroy names. A link's state is among them.
std::uint64_t CallHandles::context_for(Kind kind) const {
  switch (kind) {
    case Kind::kContext:
    case Kind::kLibrary:
    case Kind::kKernel:
    case Kind::kMemoryPool:
    case Kind::kGraph:
    case Kind::kGraphExec:
    case Kind::kResourceDescription:
    case Kind::kUserObject:
    case Kind::kGreenContext: return 0;
    default: return thread_.context_id;
  }
}

// An id of another kind may be a call that takes several, and one whose object is not there yet is
// the client's own; what is not in the table at all is stale, or guessed.
void* CallHandles::find(Kind kind, std::uint64_t id) {
  void* real = table_.find(kind, id);
  if (real == nullptr && id != 0 && !table_.holds(id)) facts_.count(Tally::kUnknownHandles);
  return real;
}

std::uint64_t CallHandles::add(Kind kind, void* real, std::uint64_t parent) {
  Result<std::uint64_t> id = table_.add(kind, real, parent != 0 ? parent : context_for(kind));
  if (id.ok()) return id.value();
  facts_.count(Tally::kRefusedHandle);
  if (g_full_log.allow()) FARCALL_LOG_WARN("%s", id.status().text().c_str());
  return 0;
}

bool CallHandles::adopt(Kind kind, std::uint64_t id, void* real) {
  Status adopted = table_.adopt(kind, id, real, context_for(kind));
  if (adopted.code() == Code::kOverQuota) facts_.count(Tally::kRefusedHandle);
  if (!adopted.ok() && g_full_log.allow()) FARCALL_LOG_WARN("%s", adopted.text().c_str());
  return adopted.ok();
}

void CallHandles::drop(Kind kind, std::uint64_t id) {
  if (table_.find(kind, id) != nullptr) table_.drop(id);
}

std::uint64_t CallHandles::graph_of(std::uint64_t id) {
  return table_.find(Kind::kGraphNode, id) == nullptr ? id : table_.parent_of(id);
}

CUstream CallHandles::thread_stream() {
  auto known = thread_.own_streams.find(thread_.context_id);
  if (known != thread_.own_streams.end()) {
    void* stream = table_.find(Kind::kStream, known->second);
    if (stream != nullptr) return static_cast<CUstream>(stream);
  }
  if (thread_.context_id == 0 || driver_.cuStreamCreate == nullptr) return nullptr;
  CUstream stream = nullptr;
  // A per-thread default stream waits for the legacy stream, as a stream without flags does.
  if (driver_.cuStreamCreate(&stream, CU_STREAM_DEFAULT) != CUDA_SUCCESS) return nullptr;
  Result<std::uint64_t> fresh = table_.add(Kind::kStream, stream, thread_.context_id);
  if (!fresh.ok()) {
    if (driver_.cuStreamDestroy_v2 != nullptr) (void)driver_.cuStreamDestroy_v2(stream);
    return nullptr;
  }
  thread_.own_streams[thread_.context_id] = fresh.value();
  return stream;
}

}  // namespace farcall::server
