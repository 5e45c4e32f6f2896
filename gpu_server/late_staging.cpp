#include "gpu_server/late_staging.h"

#include <algorithm>

#include "transport/base/log.h"

namespace farcall::server {
namespace {

std::size_t granules_of(std::size_t bytes) {
  return (bytes + limits::kLateGranuleBytes - 1) / limits::kLateGranuleBytes;
}

}  // namespace

LateStaging::~LateStaging() {
  if (ledger_ == nullptr) return;
  ledger_->give_back({Account::kInFlight},
                     state_.lock()->chunks.size() * limits::kLateCopyBytesMax);
}

Result<SecureBuffer> LateStaging::make_chunk() {
  const Place place{Account::kInFlight};
  if (ledger_ != nullptr && !ledger_->charge(place, limits::kLateCopyBytesMax)) {
    return Status(Code::kOverQuota, "the lease has all its bytes in flight");
  }
  auto memory = SecureBuffer::make(limits::kLateCopyBytesMax);
  if (!memory.ok() && ledger_ != nullptr) ledger_->give_back(place, limits::kLateCopyBytesMax);
  return memory;
}

void LateStaging::enrol(Chunk& chunk, CUcontext context) {
  if (chunk.registered_in != nullptr || driver_.cuMemHostRegister_v2 == nullptr) return;
  auto done = driver_.cuMemHostRegister_v2(chunk.memory.data(), chunk.memory.size(),
                                           CU_MEMHOSTREGISTER_PORTABLE);
  if (done == CUDA_SUCCESS) chunk.registered_in = context;
  static LogLimit limit(1);
  if (done != CUDA_SUCCESS && limit.allow()) {
    FARCALL_LOG_WARN(
        "the driver does not register staging memory (CUDA error %d): copies to the "
        "client's page-locked memory will not run beside the client's calls",
        static_cast<int>(done));
  }
}

bool LateStaging::take_run(Chunks& chunks, std::size_t least, std::size_t* wanted, Piece* piece) {
  for (std::size_t at = 0; at < chunks.size(); ++at) {
    auto& taken = chunks[at]->taken;
    for (std::size_t first = 0; first < kChunkGranules;) {
      std::size_t end = first;
      while (end < kChunkGranules && end - first < *wanted && !taken[end]) ++end;
      if (end > first && end - first >= least) {
        for (std::size_t granule = first; granule < end; ++granule) taken.set(granule);
        piece->chunk = at;
        piece->first = first;
        piece->bytes = chunks[at]->memory.bytes().subspan(
            first * limits::kLateGranuleBytes, (end - first) * limits::kLateGranuleBytes);
        *wanted -= end - first;
        return true;
      }
      first = end + 1;
    }
  }
  return false;
}

CUresult LateStaging::take(Use use, std::size_t bytes, CUcontext context,
                           std::vector<Piece>* pieces) {
  std::size_t wanted = granules_of(bytes);
  CUresult failed = CUDA_SUCCESS;
  {
    auto state = state_.lock();
    Chunks& chunks = state->chunks;
    if (use == Use::kLoan && state->lent_granules + wanted > kLentGranulesMax) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    while (wanted > 0 && failed == CUDA_SUCCESS) {
      Piece piece;
      piece.use = use;
      bool full = chunks.size() == kChunksMax;
      if (take_run(chunks, full ? 1 : wanted, &wanted, &piece)) {
        enrol(*chunks[piece.chunk], context);
        if (use == Use::kLoan) state->lent_granules += granules_of(piece.bytes.size());
        pieces->push_back(piece);
        continue;
      }
      if (full) {
        failed = CUDA_ERROR_INVALID_VALUE;
        break;
      }
      auto memory = make_chunk();
      if (!memory.ok()) {
        failed = CUDA_ERROR_OUT_OF_MEMORY;
        break;
      }
      chunks.push_back(std::make_unique<Chunk>());
      chunks.back()->memory = std::move(memory).value();
    }
  }
  if (failed != CUDA_SUCCESS) {
    give_back(*pieces);
    pieces->clear();
    return failed;
  }
  for (Piece& piece : *pieces) {
    piece.bytes = piece.bytes.first(std::min(bytes, piece.bytes.size()));
    bytes -= piece.bytes.size();
  }
  return CUDA_SUCCESS;
}

void LateStaging::give_back(const std::vector<Piece>& pieces) {
  auto state = state_.lock();
  for (const Piece& piece : pieces) {
    std::size_t granules = granules_of(piece.bytes.size());
    Chunk& chunk = *state->chunks[piece.chunk];
    for (std::size_t i = 0; i < granules; ++i) chunk.taken.reset(piece.first + i);
    if (piece.use == Use::kLoan) state->lent_granules -= granules;
  }
}

void LateStaging::leave(CUcontext context) {
  auto state = state_.lock();
  for (auto& chunk : state->chunks) {
    if (chunk->registered_in != context || context == nullptr) continue;
    if (driver_.cuMemHostUnregister) (void)driver_.cuMemHostUnregister(chunk->memory.data());
    chunk->registered_in = nullptr;
  }
}

}  // namespace farcall::server
