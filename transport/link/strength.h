// Strength: how a lane of payloads is sealed, above its floor: cipher, length of records, how often
// keys change.
//
//   StrengthControl control(floor);
//   Strength now = control.after({.sealing_ns = …, .took_ns = …, .bytes = …}, clock.now_ns());
//
// Chosen from what sealing costs, as a part of the time that payloads take. A weaker cipher is used
// only where the policy allows it and sealing is what holds payloads up: not because the link is
// slow, and the longer a payload takes for other reasons the less sealing is of it, so that who
// delays the link makes the cipher stronger, never weaker. Whatever is measured, the floor holds.
// Pure logic: no clock, no key.  Threads: one.
#pragma once
#include <cstddef>
#include <cstdint>

#include "transport/link/cipher.h"

namespace farcall::link {

struct Strength {
  Cipher cipher = Cipher::kAes256Gcm;
  std::size_t record_bytes = limits::kRecordBytesMax;
  std::uint64_t rekey_bytes = limits::kRekeyBytes;
  friend bool operator==(const Strength&, const Strength&) = default;
};

// One payload that was sent.
struct PayloadCost {
  double sealing_ns = 0;  // processor time, of all threads
  double took_ns = 0;     // from its first byte to its last
  std::uint64_t bytes = 0;
};

class StrengthControl {
 public:
  explicit StrengthControl(const LaneFloor& floor) : floor_(floor) { choose(); }

  const Strength& now() const { return now_; }
  // A payload of the session's was sent; how the next is to be.
  const Strength& after(const PayloadCost& cost, std::int64_t now_ns);
  std::uint64_t switches() const { return switches_; }  // of the cipher
  double share() const { return share_; }               // of payloads' time spent sealing

 private:
  void choose();
  void choose_cipher(std::int64_t now_ns);

  const LaneFloor floor_;
  Strength now_;
  double share_ = 0;        // of the time that is spent sealing
  double ns_per_byte_ = 0;  // of sealing; 0: not known
  int agreeing_ = 0;        // payloads in a row that ask for another cipher
  std::int64_t switched_ns_ = 0;
  std::uint64_t switches_ = 0;
};

}  // namespace farcall::link
