#include "transport/link/strength.h"

#include <cmath>

namespace farcall::link {
namespace {

// What is measured comes from clocks that may be set, stopped or wrong.
bool is_sane(const PayloadCost& cost) {
  return cost.bytes > 0 && std::isfinite(cost.sealing_ns) && std::isfinite(cost.took_ns) &&
         cost.sealing_ns >= 0 && cost.took_ns > 0;
}

double mixed(double known, double fresh) { return known + limits::kStrengthEwma * (fresh - known); }

}  // namespace

void StrengthControl::choose() {
  now_.cipher = at_least(floor_.cipher, now_.cipher);
  const double ns = ns_per_byte_;
  now_.record_bytes = limits::kRecordBytesMax;
  while (now_.record_bytes > limits::kBulkFirstRecordBytes &&
         ns * static_cast<double>(now_.record_bytes) > limits::kRecordSealNsMax) {
    now_.record_bytes /= 2;
  }
  // Bytes that are sealed while one key change is as cheap as it is to be.
  const double cheap = ns > 0 ? limits::kKeyChangeNs / limits::kKeyChangeShare / ns : 0;
  const double most = static_cast<double>(floor_.rekey_bytes());
  const double wanted = std::max(static_cast<double>(limits::kUsualRekeyBytesMin), cheap);
  now_.rekey_bytes = static_cast<std::uint64_t>(std::min(wanted, most));
}

void StrengthControl::choose_cipher(std::int64_t now_ns) {
  const bool is_strong = now_.cipher == Cipher::kAes256Gcm;
  const bool asks = is_strong ? share_ > limits::kBusySealShare : share_ < limits::kIdleSealShare;
  agreeing_ = asks ? agreeing_ + 1 : 0;
  if (agreeing_ < limits::kStrengthPayloads) return;
  if (switches_ > 0 && now_ns - switched_ns_ < limits::kStrengthHoldNs) return;
  const Cipher wanted = is_strong ? Cipher::kAes128Gcm : Cipher::kAes256Gcm;
  if (at_least(floor_.cipher, wanted) == now_.cipher) return;
  now_.cipher = at_least(floor_.cipher, wanted);
  agreeing_ = 0;
  switched_ns_ = now_ns;
  ++switches_;
}

const Strength& StrengthControl::after(const PayloadCost& cost, std::int64_t now_ns) {
  if (!is_sane(cost)) return now_;
  const double fresh = cost.sealing_ns / static_cast<double>(cost.bytes);
  ns_per_byte_ = ns_per_byte_ == 0 ? fresh : mixed(ns_per_byte_, fresh);
  share_ = mixed(share_, std::min(1.0, cost.sealing_ns / cost.took_ns));
  choose_cipher(now_ns);
  choose();
  return now_;
}

}  // namespace farcall::link
