// SealAhead, OpenAhead: the records of a large payload, sealed or opened by helpers while this
// thread sends or receives.
//
//   FARCALL_TRY(ahead.add(RecordType::kData, plain));   // as often as there are records
//   FARCALL_TRY(ahead.finish());                        // all sent; no plain is borrowed any more
//
// A record's place in the lane, which is its nonce, is taken here and in order; only the arithmetic
// moves to a helper, with a key of its own for each slot. Records leave in the order of their
// places. Whatever fails, finish() first waits for the helpers: they use the caller's memory.
// Owner: a Lane.  Threads: one at a time.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "transport/link/cost_meter.h"
#include "transport/link/crypto_pool.h"
#include "transport/link/record.h"

namespace farcall::link {

class SealAhead {
 public:
  using Send = std::function<Status(std::span<const std::byte> record)>;
  // cost: counts there what sealing takes; null: nobody asks.
  SealAhead(RecordSealer& sealer, CryptoPool& pool, Send send, CostMeter* cost = nullptr);
  ~SealAhead();

  // Records that can be under way between two calls of add(), and one more: as many as the pool has
  // threads by now, for a payload that is about to begin.
  std::size_t slots();
  // plain: borrowed until slots() further calls, or finish().  Errors: of the link; kSystem.
  Status add(RecordType type, std::span<const std::byte> plain);
  // Sends the rest. After an error of add(): waits for the helpers, sends nothing.
  Status finish();
  // For the child of a fork, which has no helpers: drops the keys.
  void wipe_in_child();

 private:
  struct Slot;
  Status send_oldest();
  RecordSealer& sealer_;
  CryptoPool& pool_;
  CostMeter* const cost_;
  const Send send_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::size_t oldest_ = 0;
  std::size_t under_way_ = 0;
  Status broken_;
};

class OpenAhead {
 public:
  OpenAhead(RecordOpener& opener, CryptoPool& pool, CostMeter* cost = nullptr);
  ~OpenAhead();

  // Takes a copy of the record, which must be of payload.
  //   out  exactly as large as its text; borrowed until finish(). Bytes there mean nothing before.
  // Errors: kMalformed.
  Status add(std::span<const std::byte> record, std::span<std::byte> out);
  // Ok when every record was good. Else what the bad ones wrote is wiped.  Errors: kMalformed.
  Status finish();
  void wipe_in_child();  // as SealAhead's

 private:
  struct Slot;
  void take_oldest();
  RecordOpener& opener_;
  CryptoPool& pool_;
  CostMeter* const cost_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::size_t oldest_ = 0;
  std::size_t under_way_ = 0;
  Status broken_;
};

}  // namespace farcall::link
