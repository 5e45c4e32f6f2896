#include "security/authority_message.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "security/bytes_left.h"
#include "transport/base/limits_authority.h"
#include "transport/base/limits_quote.h"

namespace farcall::security {
namespace {

constexpr std::string_view kRequestMagic = "FCCA";
constexpr std::string_view kReplyMagic = "FCCR";
constexpr std::uint8_t kVersion = 1;

Status malformed(const char* what) {
  return {Code::kMalformed, std::string("a message of the authority's service ") + what};
}

class Writer {
 public:
  void u8(std::uint8_t value) { bytes_.push_back(std::byte{value}); }
  void u16(std::size_t value) {
    u8(static_cast<std::uint8_t>(value & 0xff));
    u8(static_cast<std::uint8_t>(value >> 8 & 0xff));
  }
  void u32(std::size_t value) {
    u16(value & 0xffff);
    u16(value >> 16 & 0xffff);
  }
  void text(std::string_view value) {
    const auto* from = reinterpret_cast<const std::byte*>(value.data());
    bytes_.insert(bytes_.end(), from, from + value.size());
  }
  void field(std::span<const std::byte> value) {
    u16(value.size());
    bytes_.insert(bytes_.end(), value.begin(), value.end());
  }
  void field(std::string_view value) { field(std::as_bytes(std::span(value))); }
  // Header and all that was written.
  std::vector<std::byte> message(std::string_view magic, std::uint8_t what) const {
    Writer all;
    all.text(magic);
    all.u8(kVersion);
    all.u8(what);
    all.u16(0);
    all.u32(bytes_.size());
    all.bytes_.insert(all.bytes_.end(), bytes_.begin(), bytes_.end());
    return std::move(all.bytes_);
  }

 private:
  std::vector<std::byte> bytes_;
};

class Reader : public BytesLeft {
 public:
  using BytesLeft::BytesLeft;
  std::size_t number(std::size_t bytes) {
    const std::span<const std::byte> at = take(bytes);
    std::size_t value = 0;
    for (std::size_t i = at.size(); i > 0; --i) {
      value = value << 8 | std::to_integer<std::size_t>(at[i - 1]);
    }
    return value;
  }
  std::span<const std::byte> field(std::size_t bytes_max) {
    const std::size_t bytes = number(2);
    return take(bytes > bytes_max ? SIZE_MAX : bytes);
  }
};

std::string text_of(std::span<const std::byte> bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

std::vector<std::byte> copy_of(std::span<const std::byte> bytes) {
  return std::vector<std::byte>(bytes.begin(), bytes.end());
}

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

Result<std::size_t> rest(std::span<const std::byte, kAuthorityHeaderBytes> header,
                         std::string_view magic, std::size_t bytes_max) {
  if (std::memcmp(header.data(), magic.data(), magic.size()) != 0) {
    return malformed("begins with other bytes; is it the service of 'farcall ca serve' there?");
  }
  if (header[4] != std::byte{kVersion}) return malformed("is of another version");
  Reader reader(header.subspan(6));
  const std::size_t reserved = reader.number(2), bytes = reader.number(4);
  if (reserved != 0) return malformed("has bits set that mean nothing");
  if (bytes > bytes_max) return malformed("is too long");
  return bytes;
}

Result<std::span<const std::byte>> body_of(std::span<const std::byte> bytes, std::string_view magic,
                                           std::size_t bytes_max) {
  if (bytes.size() < kAuthorityHeaderBytes) return malformed("is cut short");
  Result<std::size_t> length = rest(bytes.first<kAuthorityHeaderBytes>(), magic, bytes_max);
  if (!length.ok()) return length.status();
  if (length.value() != bytes.size() - kAuthorityHeaderBytes) {
    return malformed("is not as long as it says");
  }
  return bytes.subspan(kAuthorityHeaderBytes);
}

}  // namespace

std::vector<std::byte> encode(const AuthorityRequest& request) {
  Writer writer;
  writer.u32(request.life_seconds);
  writer.field(request.name);
  writer.field(request.certificate);
  writer.field(request.key_request);
  if (!request.quote.empty()) writer.field(request.quote);
  return writer.message(kRequestMagic, static_cast<std::uint8_t>(request.kind));
}

std::vector<std::byte> encode(const AuthorityReply& reply) {
  Writer writer;
  if (reply.refusal.ok()) {
    writer.field(reply.chain_pem);
    writer.field(reply.root_pem);
  } else {
    std::string why = reply.refusal.text().substr(0, limits::kAuthorityRefusalBytesMax);
    std::replace_if(
        why.begin(), why.end(), [](char c) { return c < 0x20 || c >= 0x7f; }, '?');
    writer.field(why);
    writer.field(std::string_view());
  }
  return writer.message(kReplyMagic, static_cast<std::uint8_t>(reply.refusal.code()));
}

Result<std::size_t> request_bytes(std::span<const std::byte, kAuthorityHeaderBytes> header) {
  return rest(header, kRequestMagic, limits::kAuthorityRequestBytesMax);
}

Result<std::size_t> reply_bytes(std::span<const std::byte, kAuthorityHeaderBytes> header) {
  return rest(header, kReplyMagic, limits::kAuthorityReplyBytesMax);
}

Result<AuthorityRequest> parse_request(std::span<const std::byte> bytes) {
  Result<std::span<const std::byte>> body =
      body_of(bytes, kRequestMagic, limits::kAuthorityRequestBytesMax);
  if (!body.ok()) return body.status();
  AuthorityRequest request;
  request.kind = static_cast<AuthorityAsk>(bytes[5]);
  if (request.kind != AuthorityAsk::kRenew && request.kind != AuthorityAsk::kJoin) {
    return malformed("asks for what this version does not know");
  }
  Reader reader(body.value());
  request.life_seconds = static_cast<std::uint32_t>(reader.number(4));
  request.name = text_of(reader.field(limits::kAuthorityRefusalBytesMax));
  request.certificate = text_of(reader.field(limits::kLeafCertificateBytesMax));
  request.key_request = copy_of(reader.field(limits::kKeyRequestBytesMax));
  if (reader.has_more()) {
    request.quote = copy_of(reader.field(limits::kQuoteBytesMax));
    if (request.quote.empty()) return malformed("has fields that do not fit");
  }
  if (!reader.is_done()) return malformed("has fields that do not fit");
  const bool is_renewal = request.kind == AuthorityAsk::kRenew;
  if (request.certificate.empty() == is_renewal || request.key_request.empty() ||
      !is_printable(request.name)) {
    return malformed("lacks what it must have, or has what it must not");
  }
  return request;
}

Result<AuthorityReply> parse_reply(std::span<const std::byte> bytes) {
  Result<std::span<const std::byte>> body =
      body_of(bytes, kReplyMagic, limits::kAuthorityReplyBytesMax);
  if (!body.ok()) return body.status();
  Reader reader(body.value());
  const std::string first = text_of(reader.field(limits::kAuthorityReplyBytesMax));
  const std::string second = text_of(reader.field(limits::kAuthorityReplyBytesMax));
  if (!reader.is_done()) return malformed("has fields that do not fit");
  if (bytes[5] == std::byte{0}) {
    if (first.empty() || second.empty()) return malformed("grants nothing");
    return AuthorityReply{.refusal = {}, .chain_pem = first, .root_pem = second};
  }
  if (bytes[5] > std::byte{static_cast<std::uint8_t>(Code::kSystem)} || !is_printable(first) ||
      !second.empty()) {
    return malformed("refuses in no words");
  }
  return AuthorityReply{.refusal = Status(static_cast<Code>(bytes[5]), first)};
}

}  // namespace farcall::security
