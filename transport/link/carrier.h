// Carrier: one ordered, reliable, untrusted pipe of records. It only ever sees ciphertext.
//
//   auto slot = carrier.tx_reserve(sealed_bytes(plain.size()));   // seal writes into the slot
//   FARCALL_TRY(carrier.tx_commit(slot.size()));
//   FARCALL_TRY(carrier.wait(deadline));
//   auto record = carrier.rx_peek();  …open it…  carrier.rx_release();
//
// A carrier knows one thing about a record: its length, by the header (record.h), and refuses a
// length no record may have before it makes room for it.
// Threads: tx_* one at a time, rx_* and wait() one at a time, both at once; close() any.
#pragma once
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include "transport/base/clock.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::link {

class Carrier {
 public:
  virtual ~Carrier() = default;

  // Room for one record of `bytes` (at most kSealedBytesMax); valid until tx_commit.
  virtual std::span<std::byte> tx_reserve(std::size_t bytes) = 0;
  // Sends what was reserved; blocks while the pipe is full.  Errors: kClosed, kSystem.
  virtual Status tx_commit(std::size_t bytes) = 0;
  // Sends a record that was sealed elsewhere. As tx_reserve, copying and tx_commit; a carrier that
  // can send from any memory does without the copy.
  virtual Status tx_send(std::span<const std::byte> record) {
    std::memcpy(tx_reserve(record.size()).data(), record.data(), record.size());
    return tx_commit(record.size());
  }
  // True when a record of a few hundred bytes would not block.
  virtual bool tx_ready() = 0;

  // The next whole record, or an empty span when it is not there yet; never blocks.
  // Errors: kClosed, kMalformed (impossible length), kSystem.
  virtual Result<std::span<const std::byte>> rx_peek() = 0;
  // Gives back what rx_peek returned.
  virtual void rx_release() = 0;
  // Blocks until rx_peek would not be empty.  Errors: kTimeout, else as rx_peek.
  virtual Status wait(Deadline deadline) = 0;

  // False when nothing has arrived that rx_peek has not seen; true may be a guess.  Threads: any.
  virtual bool rx_arrived() { return true; }

  // Descriptor that is readable when bytes arrive; -1 when there is none.
  virtual int fd() const = 0;
  // Wakes every thread inside; the pipe is dead afterwards.  Idempotent.
  virtual void close() = 0;
  // For the child of a fork: closes descriptors; no lock, no byte to the peer.
  virtual void abandon() = 0;
  virtual std::string describe() const = 0;  // "tcp 10.0.0.2:7717"
  // Connections below it that records take in turn, the first record the first (stripes.h).
  virtual std::size_t connections() const { return 1; }
};

// A pair that is joined in this process, for tests. Holds up to 64 MiB of unread records each way;
// a sender blocks beyond that.
struct CarrierPair {
  std::unique_ptr<Carrier> a;
  std::unique_ptr<Carrier> b;
};
CarrierPair make_loopback_carriers();

// Over a connected stream socket: TCP, or a Unix socket in tests. Sets it non-blocking.
//   watch_fd  a descriptor (not owned, -1: none) whose becoming readable or broken means that the
//             session is over: the client passes its control connection
std::unique_ptr<Carrier> make_socket_carrier(Fd socket, int watch_fd);

}  // namespace farcall::link
