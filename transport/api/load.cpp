#include "transport/api/load.h"

namespace farcall::api {

CUresult bad_handle(Kind kind) {
  if (kind == Kind::kContext || kind == Kind::kGreenContext) return CUDA_ERROR_INVALID_CONTEXT;
  // The functions of pools do not know INVALID_HANDLE (cuda.h, cuMemPoolDestroy).
  return kind == Kind::kMemoryPool ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_HANDLE;
}

void* Load::object(Kind kind, std::uint64_t* id_out) {
  auto id = in.get<std::uint64_t>();
  if (id_out != nullptr) *id_out = id;
  if (id == 0) return nullptr;
  if (kind == Kind::kStream) {
    auto legacy = reinterpret_cast<std::uintptr_t>(CU_STREAM_LEGACY);
    auto per_thread = reinterpret_cast<std::uintptr_t>(CU_STREAM_PER_THREAD);
    if (id == legacy) return CU_STREAM_LEGACY;
    if (id == per_thread) {
      CUstream stream = handles.thread_stream();
      if (stream == nullptr) refuse(CUDA_ERROR_INVALID_CONTEXT);
      return stream;
    }
  }
  void* real = handles.find(kind, id);
  if (real == nullptr && kind == Kind::kFunction) real = handles.find(Kind::kKernel, id);
  if (real == nullptr) refuse(bad_handle(kind));
  return real;
}

std::uint64_t Answer::id_of(Kind kind, void* real, std::uint64_t parent) {
  if (real == nullptr) return 0;
  std::uint64_t id = handles.add(kind, real, parent);
  if (id == 0) full = true;
  return id;
}

void Answer::object(Kind kind, void* real, std::uint64_t parent) {
  out.put(id_of(kind, real, parent));
}

}  // namespace farcall::api
