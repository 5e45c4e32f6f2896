// CryptoLoad: how busy the helper threads of a pool are, and when there should be one more.
//
//   switch (load.look(busy_ns, threads, now_ns)) {          // at any pace
//     case CryptoNeed::kMore: …start one…
//     case CryptoNeed::kAlert: …there is none to start: say so…
//     case CryptoNeed::kNone: break;
//   }
//
// Looked at is the mean of a window of limits::kCryptoWindowNs in which there was work. Pure logic:
// no clock, no thread.  Threads: external lock.
#pragma once
#include <cstdint>

namespace farcall::link {

enum class CryptoNeed : std::uint8_t { kNone, kMore, kAlert };

class CryptoLoad {
 public:
  // most: threads that there may be.
  explicit CryptoLoad(unsigned most) : most_(most) {}

  // busy_ns: time that all helpers have worked, ever.
  CryptoNeed look(std::uint64_t busy_ns, unsigned threads, std::int64_t now_ns);
  // Of the last whole window, 0 … 1.
  double mean() const { return mean_; }
  std::uint64_t alerts() const { return alerts_; }

 private:
  unsigned most_;
  std::int64_t begun_ns_ = -1;
  std::uint64_t begun_busy_ns_ = 0;
  std::int64_t alerted_ns_ = 0;
  double mean_ = 0;
  std::uint64_t alerts_ = 0;
};

}  // namespace farcall::link
