#include "client_shim/several_copy.h"

#include <algorithm>

#include "client_shim/copy.h"
#include "client_shim/direct.h"
#include "transport/base/secure_arena.h"

namespace farcall::shim {
namespace {

CUresult wait_for(Fleet& fleet, CUstream stream) {
  Serving serving(fleet, maker_of(fleet, id_of(stream)));
  return ::cuStreamSynchronize(stream);
}

CUresult wait_for(Fleet& fleet, CUcontext context) {
  Client& client = maker_of(fleet, id_of(context));
  if (!client.contexts().find(context)) return CUDA_ERROR_INVALID_CONTEXT;
  Serving serving(fleet, client);
  client.this_thread().stack.assign(1, context);
  return ::cuCtxSynchronize();
}

// Piece by piece: the one fetched is on its way to `to` while the next is asked for.
CUresult pass_on(Fleet& fleet, Client& to, Client& from, LinearCopy copy, std::uint64_t source) {
  auto staging = SecureBuffer::make(std::min(copy.bytes, limits::kStagingBytes));
  if (!staging.ok()) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult result = CUDA_SUCCESS;
  for (std::size_t at = 0; at < copy.bytes && result == CUDA_SUCCESS; at += staging->size()) {
    const std::size_t bytes = std::min(copy.bytes - at, staging->size());
    {
      Serving serving(fleet, from);
      fleet.show_block(from, source);
      result = copy_from_device(from, {source + at, staging->data(), bytes, nullptr, false});
    }
    if (result != CUDA_SUCCESS) break;
    Serving serving(fleet, to);
    fleet.show_block(to, copy.device);
    result = copy_to_device(to, {copy.device + at, staging->data(), bytes, nullptr, false});
  }
  return result;
}

// What comes after a copy in streams that do not wait for the default one must find it done.
CUresult finish(Fleet& fleet, Client& target, CUdeviceptr to) {
  Serving serving(fleet, target);
  fleet.show_block(target, to);
  return ::cuStreamSynchronize(nullptr);
}

// All of it or nothing: a piece must not be written before it is known that the rest can be.
CUresult judge_ends(Fleet& fleet, CUdeviceptr to, CUdeviceptr from, std::size_t bytes) {
  bool known = false;
  CUresult bad = judge_device(fleet.first(), to, bytes, &known);
  return bad != CUDA_SUCCESS ? bad : judge_device(fleet.first(), from, bytes, &known);
}

}  // namespace

CUresult copy_between(Fleet& fleet, CUdeviceptr to, CUdeviceptr from, std::size_t bytes,
                      const CUstream* stream) {
  if (bytes == 0) return CUDA_SUCCESS;
  const auto receiver = fleet.owner_of_address(to);
  const auto sender = fleet.owner_of_address(from);
  if (!receiver || !sender || *receiver == *sender) {
    if (stream == nullptr || (!receiver && !sender)) return CUDA_ERROR_INVALID_VALUE;
    return copy_behind(fleet, *stream, receiver ? to : from,
                       [&] { return ::cuMemcpy(to, from, bytes); });
  }
  if (CUresult bad = judge_ends(fleet, to, from, bytes); bad != CUDA_SUCCESS) return bad;
  if (stream != nullptr) {
    if (CUresult waited = wait_for(fleet, *stream); waited != CUDA_SUCCESS) return waited;
  }
  Client& target = *fleet.clients()[*receiver];
  Client& source = *fleet.clients()[*sender];
  if (auto sent = DirectPaths::of(fleet).copy({target, to}, {source, from}, bytes)) return *sent;
  target.stats().count(CallKind::kLocal, "copy_through_client");
  LinearCopy copy;
  copy.device = to;
  copy.bytes = bytes;
  CUresult passed = pass_on(fleet, target, source, copy, from);
  return passed != CUDA_SUCCESS ? passed : finish(fleet, target, to);
}

CUresult copy_behind(Fleet& fleet, CUstream stream, CUdeviceptr device,
                     FunctionRef<CUresult()> copy) {
  const auto owner = fleet.owner_of_address(device);
  if (!owner) return CUDA_ERROR_INVALID_VALUE;
  if (CUresult waited = wait_for(fleet, stream); waited != CUDA_SUCCESS) return waited;
  Client& client = *fleet.clients()[*owner];
  {
    Serving serving(fleet, client);
    fleet.show_block(client, device);
    if (CUresult copied = copy(); copied != CUDA_SUCCESS) return copied;
  }
  return finish(fleet, client, device);
}

CUresult behind_stream(Fleet& fleet, CUstream stream, FunctionRef<CUresult()> copy) {
  CUresult waited = wait_for(fleet, stream);
  return waited == CUDA_SUCCESS ? copy() : waited;
}

CUresult copy_peer(Fleet& fleet, CUdeviceptr to, CUcontext target, CUdeviceptr from,
                   CUcontext source, std::size_t bytes) {
  for (CUcontext context : {target, source}) {
    if (context == nullptr) continue;
    CUresult waited = wait_for(fleet, context);
    if (waited != CUDA_SUCCESS) return waited;
  }
  return copy_between(fleet, to, from, bytes, nullptr);
}

CUresult wait_here(Fleet& fleet, CUstream stream, CUevent event) {
  Client& waits = maker_of(fleet, id_of(stream));
  // A graph cannot hold on for what happens elsewhere.
  if (waits.completions().is_capturing()) {
    return refuse_crossing("cuStreamWaitEvent", CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  }
  Serving serving(fleet, maker_of(fleet, id_of(event)));
  return ::cuEventSynchronize(event);
}

}  // namespace farcall::shim
