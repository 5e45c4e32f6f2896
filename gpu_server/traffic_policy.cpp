#include "gpu_server/traffic_policy.h"

#include <fcntl.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <bit>
#include <optional>

#include "gpu_server/lease_limits.h"
#include "transport/base/unique.h"

namespace farcall::server {
namespace {

constexpr std::string_view kNames[] = {"control", "parameters", "activations", "bulk"};
static_assert(std::size(kNames) == kTraffics);

struct Place {
  std::string name;
  Status wrong(const toml::node& at, const std::string& what) const {
    return {Code::kUnsupported,
            name + " line " + std::to_string(at.source().begin.line) + ": " + what};
  }
};

Status take_rekey(const Place& place, const toml::node& node, link::LaneFloor* floor) {
  const auto* text = node.as_string();
  const Result<std::uint64_t> bytes =
      text != nullptr ? parse_bytes(text->get()) : Status(Code::kUnsupported, "");
  const int log2 = bytes.ok() ? static_cast<int>(std::bit_width(bytes.value())) - 1 : -1;
  if (log2 < limits::kRekeyLog2Min || log2 > limits::kRekeyLog2Max) {
    return place.wrong(node, "rekey is a size from \"16MiB\" to \"64GiB\"");
  }
  floor->rekey_log2 = static_cast<std::uint8_t>(log2);
  return ok();
}

Status take_word(const Place& place, std::string_view key, const toml::node& node,
                 link::LaneFloor* floor) {
  if (key == "rekey") return take_rekey(place, node, floor);
  if (key != "cipher") {
    return place.wrong(node, "there is cipher and rekey, and no '" + std::string(key) + "'");
  }
  const auto* text = node.as_string();
  const auto cipher = text != nullptr ? link::cipher_named(text->get()) : std::nullopt;
  if (!cipher) return place.wrong(node, "cipher is \"aes-256-gcm\" or \"aes-128-gcm\"");
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
  const Place place{name};
  toml::table table;
  try {
    table = toml::parse(text, name);
  } catch (const toml::parse_error& wrong) {
    return Status(Code::kUnsupported, name + " line " + std::to_string(wrong.source().begin.line) +
                                          ": " + std::string(wrong.description()));
  }
  TrafficPolicy policy;
  for (const auto& [key, value] : table) {
    const auto which = parse_traffic_name(key.str());
    const auto* words = value.as_table();
    if (!which || words == nullptr) {
      return place.wrong(value,
                         "there are [control], [parameters], [activations] and [bulk], and "
                         "no '" +
                             std::string(key.str()) + "'");
    }
    for (const auto& [word, node] : *words) {
      Status taken = take_word(place, word.str(), node, &policy.least[*which]);
      if (!taken.ok()) return taken;
    }
  }
  return policy;
}

Result<TrafficPolicy> load_traffic(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return Status::system("open " + path);
  std::string text(limits::kTrafficFileBytesMax, '\0');
  const ssize_t bytes = ::read(file.get(), text.data(), text.size());
  if (bytes < 0) return Status::system("read " + path);
  if (static_cast<std::size_t>(bytes) == text.size()) {
    return Status(Code::kUnsupported, path + " is longer than any such file need be");
  }
  text.resize(static_cast<std::size_t>(bytes));
  return parse_traffic(text, path);
}

}  // namespace farcall::server
