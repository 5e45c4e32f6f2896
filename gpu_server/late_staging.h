// LateStaging: host memory that copies to the client's page-locked memory pass through, and that is
// lent to other payloads.
//
//   LateStaging staging(driver);
//   std::vector<LateStaging::Piece> pieces;
//   CUresult room = staging.take(Use::kCopy, bytes, context, &pieces);  // context is current
//   …  staging.give_back(pieces);
//
// Granules of limits::kLateGranuleBytes out of chunks that are made when they are needed and kept
// until the session ends: registering memory with a driver is slow. A chunk the driver will not
// register still works, but then the driver's copy into it is not asynchronous. A client may count
// on room for all the copies it may have under way, whatever is lent: a loan has a substitute.
// Owner: LateCopies.  Threads: any.  Wiped when it goes.
#pragma once
#include <bitset>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "gpu_server/ledger.h"
#include "transport/api/driver.h"
#include "transport/base/guarded.h"
#include "transport/base/limits.h"
#include "transport/base/secure_arena.h"

namespace farcall::server {

using api::Driver;

class LateStaging {
 public:
  enum class Use : unsigned char { kCopy, kLoan };
  struct Piece {
    std::size_t chunk = 0;
    std::size_t first = 0;  // granule
    Use use = Use::kCopy;
    std::span<std::byte> bytes;  // as many as are used
  };

  explicit LateStaging(const Driver& driver) : driver_(driver) {}
  ~LateStaging();
  // Counts chunks there, as bytes in flight, and makes no more than it allows. Borrowed; before the
  // first take().
  void use_ledger(Ledger* ledger) { ledger_ = ledger; }

  // Room for `bytes` (1 … limits::kLateCopyBytesMax), in one piece where that can be had.
  //   context  current on the calling thread; new chunks are registered in it
  // Errors: CUDA_ERROR_OUT_OF_MEMORY, also when the lease allows no more; CUDA_ERROR_INVALID_VALUE
  // when more than limits::kLateStagingBytesMax would be out, or a loan would take what copies are
  // promised.
  CUresult take(Use use, std::size_t bytes, CUcontext context, std::vector<Piece>* pieces);
  void give_back(const std::vector<Piece>& pieces);
  // `context` (current) is about to go, and nothing is under way in it any more.
  void leave(CUcontext context);

 private:
  static constexpr std::size_t kChunkGranules =
      limits::kLateCopyBytesMax / limits::kLateGranuleBytes;
  static constexpr std::size_t kChunksMax =
      limits::kLateStagingBytesMax / limits::kLateCopyBytesMax;
  // The rest is promised: what a client may have under way, and the copy that is just leaving.
  static constexpr std::size_t kLentGranulesMax =
      (limits::kLateStagingBytesMax - limits::kLateBytesMax - limits::kLateCopyBytesMax) /
      limits::kLateGranuleBytes;
  struct Chunk {
    SecureBuffer memory;
    CUcontext registered_in = nullptr;
    std::bitset<kChunkGranules> taken;
  };
  using Chunks = std::vector<std::unique_ptr<Chunk>>;
  struct State {
    Chunks chunks;
    std::size_t lent_granules = 0;
  };
  void enrol(Chunk& chunk, CUcontext context);
  // The first run of at least one and at most `wanted` free granules that is as long as `least`.
  static bool take_run(Chunks& chunks, std::size_t least, std::size_t* wanted, Piece* piece);

  Result<SecureBuffer> make_chunk();

  const Driver& driver_;
  Ledger* ledger_ = nullptr;  // null: nobody counts
  Guarded<State> state_;      // held over registering, which happens once a chunk
};

}  // namespace farcall::server
