#include "transport/link/crypto_load.h"

#include <algorithm>

#include "transport/base/limits_strength.h"

namespace farcall::link {

CryptoNeed CryptoLoad::look(std::uint64_t busy_ns, unsigned threads, std::int64_t now_ns) {
  const std::int64_t passed_ns = now_ns - begun_ns_;
  if (begun_ns_ < 0 || passed_ns < 0 || passed_ns > limits::kCryptoPauseNs) {
    begun_ns_ = now_ns;
    begun_busy_ns_ = busy_ns;
    return CryptoNeed::kNone;
  }
  if (threads == 0 || passed_ns < limits::kCryptoWindowNs) return CryptoNeed::kNone;
  const auto worked = static_cast<double>(busy_ns - begun_busy_ns_);
  mean_ = std::min(1.0, worked / (static_cast<double>(passed_ns) * threads));
  begun_ns_ = now_ns;
  begun_busy_ns_ = busy_ns;
  if (mean_ <= limits::kCryptoBusyMean) return CryptoNeed::kNone;
  if (threads < most_) return CryptoNeed::kMore;
  if (alerts_ > 0 && now_ns - alerted_ns_ < limits::kCryptoAlertNs) return CryptoNeed::kNone;
  alerted_ns_ = now_ns;
  ++alerts_;
  return CryptoNeed::kAlert;
}

}  // namespace farcall::link
