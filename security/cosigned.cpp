#include "security/cosigned.h"

#include <algorithm>

#include "security/lease_bytes.h"

namespace farcall::security {
namespace {

constexpr std::array<char, 4> kMagic = {'F', 'C', 'C', 'S'};
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kHeadBytes = kMagic.size() + 1 + sizeof(std::uint32_t);

bool is_before(const Cosigned::Signature& one, const LeaseKeyId& key) { return one.key < key; }

std::string names_of(const std::vector<LeaseKeyId>& keys) {
  std::string names;
  for (const LeaseKeyId& key : keys) names += (names.empty() ? "" : ", ") + to_string(key);
  return names;
}

}  // namespace

std::vector<std::byte> encode(const Cosigned& text) {
  Put out;
  out.value(kMagic);
  out.value(kVersion);
  out.value(static_cast<std::uint32_t>(text.body.size()));
  out.bytes(text.body);
  out.value(static_cast<std::uint8_t>(text.signatures.size()));
  for (const Cosigned::Signature& each : text.signatures) {
    out.value(each.key);
    out.value(each.bytes);
  }
  return out.take();
}

Result<Cosigned> read_cosigned(std::span<const std::byte> bytes) {
  const Status malformed(Code::kMalformed, "these are no signed bytes of this version");
  Taken in(bytes);
  const bool is_it = in.get<std::array<char, 4>>() == kMagic && in.get<std::uint8_t>() == kVersion;
  const auto length = in.get<std::uint32_t>();
  if (!is_it || in.failed() || length > bytes.size() - kHeadBytes) return malformed;
  Cosigned text;
  const auto body = bytes.subspan(kHeadBytes, length);
  text.body.assign(body.begin(), body.end());
  Taken rest(bytes.subspan(kHeadBytes + length));
  const auto count = rest.get<std::uint8_t>();
  if (rest.failed() || count > limits::kCosignersMax) return malformed;
  for (std::size_t i = 0; i < count; ++i) {
    Cosigned::Signature one;
    one.key = rest.get<LeaseKeyId>();
    one.bytes = rest.get<ed25519::Signature>();
    if (rest.failed() || (i != 0 && !(text.signatures.back().key < one.key))) return malformed;
    text.signatures.push_back(one);
  }
  if (!rest.done()) return malformed;
  return text;
}

Status cosign(std::string_view label, const LeaseKey& key, Cosigned* text) {
  auto at = std::lower_bound(text->signatures.begin(), text->signatures.end(), key.id(), is_before);
  if (at != text->signatures.end() && at->key == key.id()) {
    return {Code::kDenied, "key " + to_string(key.id()) + " has signed it already"};
  }
  if (text->signatures.size() == limits::kCosignersMax) {
    return {Code::kOverQuota, "it has " + std::to_string(limits::kCosignersMax) +
                                  " signatures already, and no room for another"};
  }
  std::vector<std::byte> bytes = text->body;
  FARCALL_TRY(key.sign(label, &bytes));
  Cosigned::Signature one;
  one.key = key.id();
  std::copy_n(bytes.end() - kSignatureBytes, kSignatureBytes, one.bytes.begin());
  text->signatures.insert(at, one);
  return ok();
}

Result<std::vector<LeaseKeyId>> check_cosigned(std::string_view label, const Cosigned& text,
                                               const LeaseKeys& keys, std::size_t needed) {
  std::vector<LeaseKeyId> known;
  std::vector<LeaseKeyId> strangers;
  for (const Cosigned::Signature& each : text.signatures) {
    if (!keys.knows(each.key)) {
      strangers.push_back(each.key);
      continue;
    }
    std::vector<std::byte> bytes = text.body;
    bytes.insert(bytes.end(), each.bytes.begin(), each.bytes.end());
    if (Status good = keys.check(label, each.key, bytes); !good.ok()) return good;
    known.push_back(each.key);
  }
  if (known.size() >= needed) return known;
  if (text.signatures.empty()) {
    return Status(Code::kDenied, "nobody has signed it: farcall manifest sign --key KEY does");
  }
  std::string why = "it is signed by " + std::to_string(known.size()) + " of the " +
                    std::to_string(needed) + " known keys that are needed";
  if (!strangers.empty()) {
    why += "; not known here: " + names_of(strangers) +
           " (if that is right, add the public key to --manifest-keys)";
  }
  return Status(Code::kDenied, why);
}

}  // namespace farcall::security
