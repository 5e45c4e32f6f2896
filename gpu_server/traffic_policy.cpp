#include "gpu_server/traffic_policy.h"

#include <bit>
#include <optional>

#include "gpu_server/lease_limits.h"
#include "security/toml_file.h"

namespace farcall::server {
namespace {

using security::wrong_toml;

constexpr std::string_view kNames[] = {"control", "parameters", "activations", "bulk"};
static_assert(std::size(kNames) == kTraffics);

Status take_rekey(const toml::node& node, link::LaneFloor* floor) {
  const auto* text = node.as_string();
  const Result<std::uint64_t> bytes =
      text != nullptr ? parse_bytes(text->get()) : Status(Code::kUnsupported, "");
  const int log2 = bytes.ok() ? static_cast<int>(std::bit_width(bytes.value())) - 1 : -1;
  if (log2 < limits::kRekeyLog2Min || log2 > limits::kRekeyLog2Max) {
    return wrong_toml(node, "rekey is a size from \"16MiB\" to \"64GiB\"");
  }
  floor->rekey_log2 = static_cast<std::uint8_t>(log2);
  return ok();
}

Status take_word(std::string_view key, const toml::node& node, link::LaneFloor* floor) {
  if (key == "rekey") return take_rekey(node, floor);
  if (key != "cipher") {
    return wrong_toml(node, "there is cipher and rekey, and no '" + std::string(key) + "'");
  }
  const auto* text = node.as_string();
  const auto cipher = text != nullptr ? link::cipher_named(text->get()) : std::nullopt;
  if (!cipher) return wrong_toml(node, "cipher is \"aes-256-gcm\" or \"aes-128-gcm\"");
  floor->cipher = *cipher;
  return ok();
}

std::optional<std::size_t> parse_traffic_name(std::string_view name) {
  for (std::size_t i = 0; i < kTraffics; ++i) {
    if (kNames[i] == name) return i;
  }
  return std::nullopt;
}

// What the lease leaves to choose.
link::Cipher least_of(const security::LeaseToken* token) {
  if (token == nullptr) return link::Cipher::kAes128Gcm;
  const bool may_be_less = token->cipher_floor == security::CipherFloor::kAes128Gcm &&
                           token->data_class < security::DataClass::kConfidential;
  return may_be_less ? link::Cipher::kAes128Gcm : link::Cipher::kAes256Gcm;
}

Result<TrafficPolicy> read_traffic(const toml::table& table) {
  TrafficPolicy policy;
  for (const auto& [key, value] : table) {
    const auto which = parse_traffic_name(key.str());
    const auto* words = value.as_table();
    if (!which || words == nullptr) {
      return wrong_toml(value,
                        "there are [control], [parameters], [activations] and [bulk], and "
                        "no '" +
                            std::string(key.str()) + "'");
    }
    for (const auto& [word, node] : *words) {
      Status taken = take_word(word.str(), node, &policy.least[*which]);
      if (!taken.ok()) return taken;
    }
  }
  return policy;
}

}  // namespace

std::string_view name_of(Traffic traffic) { return kNames[static_cast<std::size_t>(traffic)]; }

link::LaneFloors floors_of(const TrafficPolicy& policy, const security::LeaseToken* token) {
  const link::LaneFloor of_lease{least_of(token), limits::kRekeyLog2Max};
  const link::LaneFloor payloads =
      stricter(stricter(policy[Traffic::kParameters], policy[Traffic::kActivations]),
               policy[Traffic::kBulk]);
  return {stricter(policy[Traffic::kControl], of_lease), stricter(payloads, of_lease)};
}

Result<TrafficPolicy> parse_traffic(std::string_view text, const std::string& name) {
  Result<toml::table> table = security::parse_toml(text, name);
  if (!table.ok()) return table.status();
  return read_traffic(table.value());
}

Result<TrafficPolicy> load_traffic(const std::string& path) {
  Result<toml::table> table = security::load_toml(path, limits::kTrafficFileBytesMax);
  if (!table.ok()) return table.status();
  return read_traffic(table.value());
}

}  // namespace farcall::server
