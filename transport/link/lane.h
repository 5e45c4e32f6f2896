// Lane: a carrier with a sealer and an opener; whole records in, whole records out, counted.
//
//   Result<std::unique_ptr<Lane>> lane = Lane::make(std::move(carrier), keys, kLaneCalls, role, …);
//   FARCALL_TRY(lane.value()->send(RecordType::kData, plain));
//   Result<std::size_t> bytes = lane.value()->wait_next(deadline);   // then open(destination)
//
// Owner: a Session.  Threads: send() one at a time, wait_next()/open() one at a time, both at once;
// close(), counts() and costs any.
#pragma once
#include <atomic>
#include <memory>
#include <span>

#include "transport/base/clock.h"
#include "transport/link/carrier.h"
#include "transport/link/cost_meter.h"
#include "transport/link/record.h"
#include "transport/link/session.h"
#include "transport/link/strength.h"
#include "transport/link/work_ahead.h"

namespace farcall::link {

class Lane {
 public:
  struct Counts {
    std::uint64_t records_out, records_in, bytes_out, bytes_in;
  };

  static Result<std::unique_ptr<Lane>> make(std::unique_ptr<Carrier> carrier,
                                            const SessionKeys& keys, std::uint8_t lane, Role role,
                                            const RekeyLimits& rekey);

  Status send(RecordType type, std::span<const std::byte> plain);

  // With helpers (crypto_pool.h), for one large payload: send_ahead() as often as there are
  // records, then finish_sending() before anything else is sent. Without helpers: send().
  //   plain  borrowed until slots_ahead() further calls, or finish_sending()
  static bool helps(std::uint64_t payload_bytes);
  std::size_t slots_ahead();
  Status send_ahead(std::span<const std::byte> plain);
  Status finish_sending();

  // Connections that records take in turn, and the longest text that suits them: where they are
  // several, a payload should reach all of them soon.
  std::size_t connections() const { return connections_; }
  std::size_t payload_record_bytes() const {
    return connections_ > 1 ? limits::kStripedRecordBytes : record_bytes_;
  }

  // What a byte takes on the way to the peer, as far as the system knows; 0 where it does not.
  double link_ns_per_byte() const;

  // For what is sent from now on; never below the lane's floor.  Threads: the sending one.
  void use(const Strength& strength) {
    sealer_.use(strength.cipher, strength.rekey_bytes);
    record_bytes_ = strength.record_bytes;
  }
  const LaneFloor& floor() const { return sealer_.floor(); }

  bool can_send() { return carrier_->tx_ready(); }  // a short record, without blocking

  // Blocks until a record is there; returns the bytes of text it claims (not yet authenticated).
  Result<std::size_t> wait_next(Deadline deadline);
  // True when wait_next would not block.
  bool has_next();
  // False when nothing has come behind the waiting record; true may be a guess.  Threads: any.
  bool has_arrived() { return carrier_->rx_arrived(); }
  // The type the waiting record claims: lets the caller choose where to open it to.
  RecordType next_type() const;
  // Opens the waiting record into `out`, and takes it off the carrier.
  Result<RecordType> open(std::span<std::byte> out);
  // With helpers: takes the waiting record, which must be of payload, off the carrier, and opens it
  // some time before finish_opening(), which must come before anything else is opened, also after
  // an error. `out` is as large as the record's text; its bytes mean nothing before.
  Status open_ahead(std::span<std::byte> out);
  Status finish_opening();

  void close() { carrier_->close(); }
  void abandon();
  Counts counts() const;
  RecordCost seal_cost() const { return seal_cost_.read(); }
  RecordCost open_cost() const { return open_cost_.read(); }
  std::string describe() const;  // "tcp 10.0.0.2:7717, AES-256-GCM (ipsec-mb)"

 private:
  Lane(std::unique_ptr<Carrier> carrier, RecordSealer sealer, RecordOpener opener);
  std::unique_ptr<Carrier> carrier_;
  const std::size_t connections_;
  std::size_t record_bytes_ = limits::kRecordBytesMax;
  RecordSealer sealer_;
  RecordOpener opener_;
  CostMeter seal_cost_;                    // of who sends
  CostMeter open_cost_;                    // of who receives
  std::unique_ptr<SealAhead> seal_ahead_;  // made when first used
  std::unique_ptr<OpenAhead> open_ahead_;
  std::span<const std::byte> next_;  // as peeked
  std::atomic<std::uint64_t> records_out_{0};
  std::atomic<std::uint64_t> records_in_{0};
  std::atomic<std::uint64_t> bytes_out_{0};
  std::atomic<std::uint64_t> bytes_in_{0};
};

}  // namespace farcall::link
