#include "transport/link/carrier_kind.h"

#include <array>

namespace farcall::link {
namespace {

constexpr std::array<const char*, kCarrierKinds> kNames = {"tcp", "shm", "rdma"};

}  // namespace

std::optional<CarrierKind> best_carrier(CarrierSet set) {
  for (CarrierKind kind : {CarrierKind::kShm, CarrierKind::kRdma, CarrierKind::kTcp}) {
    if (has(set, kind)) return kind;
  }
  return std::nullopt;
}

const char* name_of(CarrierKind kind) { return kNames[static_cast<std::size_t>(kind)]; }

std::string names_of(CarrierSet set) {
  std::string names;
  for (std::uint8_t i = 0; i < kCarrierKinds; ++i) {
    const auto kind = static_cast<CarrierKind>(i);
    if (has(set, kind)) names.append(names.empty() ? "" : ", ").append(name_of(kind));
  }
  return names.empty() ? "none" : names;
}

std::optional<CarrierKind> carrier_named(std::string_view name) {
  for (std::uint8_t i = 0; i < kCarrierKinds; ++i) {
    if (name == kNames[i]) return static_cast<CarrierKind>(i);
  }
  return std::nullopt;
}

Result<CarrierSet> parse_carriers(std::string_view text) {
  CarrierSet set = 0;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const std::string_view word = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    const std::optional<CarrierKind> kind = carrier_named(word);
    if (!kind) {
      return Status(Code::kUnsupported, "\"" + std::string(word) + "\" is no carrier; known are " +
                                            names_of(kAllCarriers));
    }
    set = static_cast<CarrierSet>(set | only(*kind));
  }
  if (set == 0) return Status(Code::kUnsupported, "no carrier is named");
  return set;
}

}  // namespace farcall::link
