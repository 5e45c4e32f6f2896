#include "transport/link/hello.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

#include "transport/base/limits.h"
#include "transport/base/limits_token.h"
#include "transport/wire/reader.h"
#include "transport/wire/writer.h"

namespace farcall::link {
namespace {

constexpr std::uint32_t kClientMagic = 0x31484346;  // "FCH1"
constexpr std::uint32_t kServerMagic = 0x31485346;  // "FSH1"
constexpr std::array<char, 4> kLaneMagic = {'F', 'C', 'L', '1'};
constexpr std::uint8_t kLaneVersion = 1;
// Flags of a client.
constexpr std::uint16_t kCompressOn = 2;
constexpr std::uint16_t kCompressAuto = 4;
// What a server grants.
constexpr std::uint8_t kGranted = 1;
constexpr std::uint8_t kGrantedCompressed = 3;

static_assert(64 + kVersionBytesMax + kRefusalBytesMax + kPlaceBytesMax <= limits::kHelloBytesMax);

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

// A peer's text ends up in logs and on terminals: nothing but printable ASCII passes.
std::string printable(std::span<const std::byte> bytes) {
  std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < 0x20 || c > 0x7e; }, '?');
  return text;
}

Status malformed(const char* what) { return {Code::kMalformed, what}; }

std::string hex(std::uint64_t value) {
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "0x%016llx", static_cast<unsigned long long>(value));
  return text.data();
}

std::uint16_t flags_of(const ClientHello& hello) {
  if (hello.compress == Compress::kOn) return kCompressOn;
  return hello.compress == Compress::kAuto ? kCompressAuto : 0;
}

Compress compress_of(std::uint16_t flags) {
  if ((flags & kCompressOn) != 0) return Compress::kOn;
  return (flags & kCompressAuto) != 0 ? Compress::kAuto : Compress::kOff;
}

void put_floors(wire::Writer& out, const LaneFloors& floors) {
  for (const LaneFloor& floor : floors) {
    out.put(static_cast<std::uint8_t>(floor.cipher));
    out.put(floor.rekey_log2);
  }
}

// False for what is no floor.
bool take_floors(wire::Reader& in, LaneFloors* floors) {
  bool sound = true;
  for (LaneFloor& floor : *floors) {
    floor.cipher = static_cast<Cipher>(in.get<std::uint8_t>());
    floor.rekey_log2 = in.get<std::uint8_t>();
    sound = sound && floor.is_sound();
  }
  return sound;
}

}  // namespace

Result<std::size_t> encode(const ClientHello& hello, std::span<std::byte> room) {
  if (hello.version.size() > kVersionBytesMax || !is_printable(hello.version)) {
    return Status(Code::kOverQuota, "the version text is too long or not printable");
  }
  wire::Writer out(room);
  out.put(kClientMagic);
  out.put(hello.protocol);
  out.put(flags_of(hello));
  out.put(hello.table_fingerprint);
  out.put(hello.pid);
  out.put(static_cast<std::uint16_t>(hello.version.size()));
  out.bytes(hello.version.data(), hello.version.size());
  out.put(hello.carriers);
  out.put(hello.stripes);
  put_floors(out, hello.floors);
  if (hello.lease.size() > limits::kLeaseBytesMax) {
    return Status(Code::kOverQuota, "the lease is too long to be one");
  }
  out.put(static_cast<std::uint16_t>(hello.lease.size()));
  out.bytes(hello.lease.data(), hello.lease.size());
  if (!out.ok()) return Status(Code::kOverQuota, "no room for the hello");
  return out.size();
}

Result<ClientHello> parse_client_hello(std::span<const std::byte> bytes) {
  wire::Reader in(bytes);
  if (in.get<std::uint32_t>() != kClientMagic) return malformed("this is no client's hello");
  ClientHello hello;
  hello.protocol = in.get<std::uint16_t>();
  const auto flags = in.get<std::uint16_t>();
  hello.table_fingerprint = in.get<std::uint64_t>();
  hello.pid = in.get<std::uint32_t>();
  const auto version_bytes = in.get<std::uint16_t>();
  if (version_bytes > kVersionBytesMax) return malformed("a version text that long");
  hello.version = printable(in.bytes(version_bytes));
  hello.compress = compress_of(flags);
  if (in.failed()) return malformed("a client's hello is cut short");
  // Another protocol may say other things behind this; all that is asked of it is to be told apart.
  if (hello.protocol != kProtocolVersion) return hello;
  hello.carriers = in.get<CarrierSet>();
  hello.stripes = in.get<std::uint8_t>();
  const bool floors_sound = take_floors(in, &hello.floors);
  const auto lease_bytes = in.get<std::uint16_t>();
  if (lease_bytes > limits::kLeaseBytesMax) return malformed("a lease that long");
  const std::span<const std::byte> lease = in.bytes(lease_bytes);
  hello.lease.assign(lease.begin(), lease.end());
  if (in.failed()) return malformed("a client's hello is cut short");
  if (!in.done() || flags != flags_of(hello)) {
    return malformed("a client's hello says more than this protocol knows");
  }
  if (hello.carriers == 0 || (hello.carriers & ~kAllCarriers) != 0) {
    return malformed("a client wants carriers this protocol does not know");
  }
  if (hello.stripes == 0 || hello.stripes > limits::kStripesMax) {
    return malformed("a client wants more connections than this protocol knows, or none");
  }
  if (!floors_sound) return malformed("a client insists on ciphers this protocol does not know");
  return hello;
}

Result<std::size_t> encode(const ServerHello& hello, std::span<std::byte> room) {
  const std::string why = hello.refusal.text().substr(0, kRefusalBytesMax);
  if (hello.version.size() > kVersionBytesMax || !is_printable(hello.version)) {
    return Status(Code::kOverQuota, "the version text is too long or not printable");
  }
  if (hello.offer.place.size() > kPlaceBytesMax || !is_printable(hello.offer.place)) {
    return Status(Code::kOverQuota, "the place of the lanes is too long or not printable");
  }
  wire::Writer out(room);
  out.put(kServerMagic);
  out.put(hello.protocol);
  out.put(!hello.granted ? std::uint8_t{0} : hello.offer.compress ? kGrantedCompressed : kGranted);
  out.put(static_cast<std::uint8_t>(hello.refusal.code()));
  out.put(hello.table_fingerprint);
  out.bytes(hello.session_id.bytes.data(), hello.session_id.bytes.size());
  out.put(static_cast<std::uint16_t>(hello.version.size()));
  out.put(static_cast<std::uint16_t>(why.size()));
  out.bytes(hello.version.data(), hello.version.size());
  out.bytes(why.data(), why.size());
  out.put(static_cast<std::uint8_t>(hello.offer.kind));
  out.put(static_cast<std::uint16_t>(hello.offer.place.size()));
  out.bytes(hello.offer.place.data(), hello.offer.place.size());
  out.put(hello.offer.stripes);
  put_floors(out, hello.offer.floors);
  if (!out.ok()) return Status(Code::kOverQuota, "no room for the hello");
  return out.size();
}

namespace {

// The tail of a server's hello, which says where the lanes are.
Status parse_offer(wire::Reader& in, bool granted, CarrierOffer* offer) {
  const auto kind = in.get<std::uint8_t>();
  const auto place_bytes = in.get<std::uint16_t>();
  if (place_bytes > kPlaceBytesMax) return malformed("a place of the lanes that long");
  std::span<const std::byte> place = in.bytes(place_bytes);
  offer->stripes = in.get<std::uint8_t>();
  const bool floors_sound = take_floors(in, &offer->floors);
  if (in.failed()) return malformed("a server's hello is cut short");
  offer->place.assign(reinterpret_cast<const char*>(place.data()), place.size());
  if (kind >= kCarrierKinds) return malformed("a server offers a carrier of an unknown kind");
  offer->kind = static_cast<CarrierKind>(kind);
  if (!floors_sound) return malformed("a server offers ciphers this protocol does not know");
  const std::size_t stripes_max = offer->kind == CarrierKind::kTcp ? limits::kStripesMax : 1;
  if (offer->stripes == 0 || offer->stripes > stripes_max) {
    return malformed("a server offers more connections than its carrier has, or none");
  }
  const bool needs_place = granted && offer->kind != CarrierKind::kTcp;
  // A place is dialled, not only shown, so what is not printable is refused and not replaced.
  if (!in.done() || !is_printable(offer->place) || needs_place == offer->place.empty()) {
    return malformed("a server's hello contradicts itself");
  }
  return ok();
}

}  // namespace

Result<ServerHello> parse_server_hello(std::span<const std::byte> bytes) {
  wire::Reader in(bytes);
  if (in.get<std::uint32_t>() != kServerMagic) return malformed("this is no server's hello");
  ServerHello hello;
  hello.protocol = in.get<std::uint16_t>();
  const auto granted = in.get<std::uint8_t>();
  const auto code = in.get<std::uint8_t>();
  hello.table_fingerprint = in.get<std::uint64_t>();
  hello.session_id.bytes = in.get<std::array<std::byte, 16>>();
  const auto version_bytes = in.get<std::uint16_t>();
  const auto refusal_bytes = in.get<std::uint16_t>();
  if (version_bytes > kVersionBytesMax || refusal_bytes > kRefusalBytesMax) {
    return malformed("a text in the server's hello that long");
  }
  hello.version = printable(in.bytes(version_bytes));
  const std::string why = printable(in.bytes(refusal_bytes));
  if (in.failed()) return malformed("a server's hello is cut short");
  const bool known_code = code <= static_cast<std::uint8_t>(Code::kDriver);
  const bool known_grant = granted == 0 || granted == kGranted || granted == kGrantedCompressed;
  if (!known_grant || (granted != 0) != (code == 0) || !known_code) {
    return malformed("a server's hello contradicts itself");
  }
  hello.granted = granted != 0;
  hello.offer.compress = granted == kGrantedCompressed;
  if (!hello.granted) hello.refusal = Status(static_cast<Code>(code), why);
  if (hello.protocol == kProtocolVersion) {
    if (Status sound = parse_offer(in, hello.granted, &hello.offer); !sound.ok()) return sound;
  }
  return hello;
}

Status check_match(const ClientHello& client, std::uint64_t server_fingerprint,
                   const std::string& server_version) {
  if (client.protocol != kProtocolVersion) {
    return {Code::kDenied, "the client speaks link protocol " + std::to_string(client.protocol) +
                               " (Farcall " + client.version + "), the server " +
                               std::to_string(kProtocolVersion) + " (Farcall " + server_version +
                               "); install the same version on both"};
  }
  if (client.table_fingerprint != server_fingerprint) {
    return {Code::kDenied, "the client's table of CUDA calls is " + hex(client.table_fingerprint) +
                               " (Farcall " + client.version + "), the server's " +
                               hex(server_fingerprint) + " (Farcall " + server_version +
                               "); install the same version on both"};
  }
  return ok();
}

void encode(const LaneHello& hello, std::span<std::byte, kLaneHelloBytes> room) {
  wire::Writer out(room);
  out.put(kLaneMagic);
  out.put(kLaneVersion);
  out.put(hello.connection);
  out.put(hello.session_id.bytes);
}

Result<LaneHello> parse_lane_hello(std::span<const std::byte> bytes) {
  wire::Reader in(bytes);
  if (in.get<std::array<char, 4>>() != kLaneMagic) return malformed("this is no lane's hello");
  const auto version = in.get<std::uint8_t>();
  LaneHello hello;
  hello.connection = in.get<std::uint8_t>();
  hello.session_id.bytes = in.get<std::array<std::byte, 16>>();
  if (!in.done()) return malformed("a lane's hello is of the wrong length");
  if (version != kLaneVersion) return malformed("a lane of another version");
  if (hello.connection >= kFirstBulkConnection + limits::kStripesMax) {
    return malformed("a lane of an unknown number");
  }
  return hello;
}

}  // namespace farcall::link
