#include <algorithm>

#include "client_shim/copy.h"
#include "client_shim/several.h"
#include "transport/base/secure_arena.h"

namespace farcall::shim {
namespace {

CUresult wait_for(Fleet& fleet, CUstream stream) {
  Serving serving(fleet, maker_of(fleet, id_of(stream)));
  return ::cuStreamSynchronize(stream);
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
      result = copy_from_device(from, {source + at, staging->data(), bytes, nullptr, false});
    }
    if (result != CUDA_SUCCESS) break;
    Serving serving(fleet, to);
    result = copy_to_device(to, {copy.device + at, staging->data(), bytes, nullptr, false});
  }
  return result;
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
  if (stream != nullptr) {
    if (CUresult waited = wait_for(fleet, *stream); waited != CUDA_SUCCESS) return waited;
  }
  Client& target = *fleet.clients()[*receiver];
  LinearCopy copy;
  copy.device = to;
  copy.bytes = bytes;
  CUresult passed = pass_on(fleet, target, *fleet.clients()[*sender], copy, from);
  if (passed != CUDA_SUCCESS) return passed;
  // What comes after it in streams that do not wait for the default one must find it done.
  Serving serving(fleet, target);
  return ::cuStreamSynchronize(nullptr);
}

CUresult copy_behind(Fleet& fleet, CUstream stream, CUdeviceptr device,
                     FunctionRef<CUresult()> copy) {
  const auto owner = fleet.owner_of_address(device);
  if (!owner) return CUDA_ERROR_INVALID_VALUE;
  if (CUresult waited = wait_for(fleet, stream); waited != CUDA_SUCCESS) return waited;
  Serving serving(fleet, *fleet.clients()[*owner]);
  if (CUresult copied = copy(); copied != CUDA_SUCCESS) return copied;
  return ::cuStreamSynchronize(nullptr);
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
