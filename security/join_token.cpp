#include "security/join_token.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "security/crypto.h"
#include "security/fields.h"
#include "security/file.h"
#include "security/x509.h"
#include "transport/base/limits_authority.h"

namespace farcall::security {
namespace {

constexpr std::string_view kPrefix = "fcjoin1.";
constexpr std::string_view kFirstLine = "farcall-join-tokens 1";
constexpr std::size_t kIdBytes = 16, kSecretBytes = 32;
constexpr std::size_t kTokenBytes = 1 + kIdBytes + kSecretBytes + 32 + 8;
static_assert(kTokenBytes % 3 == 2);  // so that base64 ends in one '=', which is left out
constexpr std::size_t kTextBytes = (kTokenBytes + 2) / 3 * 4 - 1;
constexpr std::size_t kFields = 7;
using TokenBytes = std::array<std::byte, kTokenBytes>;

std::string to_text(const TokenBytes& bytes) {
  std::string text(kTextBytes + 2, '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                  reinterpret_cast<const unsigned char*>(bytes.data()), kTokenBytes);
  text.resize(kTextBytes);
  std::replace(text.begin(), text.end(), '+', '-');
  std::replace(text.begin(), text.end(), '/', '_');
  return std::string(kPrefix) + text;
}

bool from_text(std::string_view token, TokenBytes* bytes) {
  if (!token.starts_with(kPrefix) || token.size() != kPrefix.size() + kTextBytes) return false;
  std::string text(token.substr(kPrefix.size()));
  std::replace(text.begin(), text.end(), '-', '+');
  std::replace(text.begin(), text.end(), '_', '/');
  text += '=';
  std::array<std::byte, kTokenBytes + 1> room;
  const int got = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(room.data()),
                                  reinterpret_cast<const unsigned char*>(text.data()),
                                  static_cast<int>(text.size()));
  if (got != static_cast<int>(room.size())) return false;
  std::copy_n(room.begin(), kTokenBytes, bytes->begin());
  return to_text(*bytes) == token;  // one token has one text
}

std::string hash_of(std::string_view text) {
  std::array<std::byte, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return to_hex(digest);
}

bool is_hex(std::string_view text, std::size_t bytes) {
  return text.size() == 2 * bytes && text.find_first_not_of("0123456789abcdef") == text.npos;
}

bool is_number(std::string_view text, std::int64_t* number) {
  const auto read = std::from_chars(text.data(), text.data() + text.size(), *number);
  return read.ec == std::errc() && read.ptr == text.data() + text.size() && *number > 0 &&
         std::to_string(*number) == text;
}

bool parse_names(std::string_view text, std::vector<std::string>* names) {
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const std::string_view one = text.substr(0, comma);
    const bool allowed = !one.empty() && std::all_of(one.begin(), one.end(),
                                                     [](char c) { return c > 0x20 && c < 0x7f; });
    if (!allowed) return false;
    names->emplace_back(one);
    if (comma == text.npos) return true;
    text.remove_prefix(comma + 1);
  }
  return false;
}

bool parse_line(std::string_view text, JoinLine* line) {
  std::array<std::string_view, kFields> fields;
  if (!split_fields(text, fields)) return false;
  const auto& [id, hash, expires, state, seconds, uri, names] = fields;
  Result<PeerIdentity> who = parse_identity_uri(uri);
  if (!who.ok() || who->kind != IdentityKind::kServer || !is_hex(id, kIdBytes) ||
      !is_hex(hash, SHA256_DIGEST_LENGTH) || !is_number(expires, &line->grant.expires) ||
      !is_number(seconds, &line->grant.life_seconds) || (state != "waiting" && state != "spent") ||
      !parse_names(names, &line->grant.names)) {
    return false;
  }
  line->grant.who = std::move(who).value();
  line->grant.id = id;
  line->hash = hash;
  line->spent = state == "spent";
  return true;
}

Status no_good(const char* why) {
  return {Code::kDenied, std::string("the token ") + why +
                             ": make another with 'farcall ca token' where the authority is"};
}

}  // namespace

Result<JoinTokenText> parse_join_token(std::string_view token) {
  TokenBytes bytes;
  if (!from_text(token, &bytes) || bytes[0] != std::byte{1}) {
    return Status(Code::kDenied,
                  "this is no token: it begins with fcjoin1. and comes in one piece from 'farcall "
                  "ca token'");
  }
  JoinTokenText text;
  const std::span<const std::byte> all(bytes);
  text.id = to_hex(all.subspan(1, kIdBytes));
  std::copy_n(bytes.begin() + 1 + kIdBytes + kSecretBytes, text.root.size(), text.root.begin());
  std::uint64_t expires = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    expires |= std::to_integer<std::uint64_t>(bytes[kTokenBytes - 8 + i]) << 8 * i;
  }
  text.expires = static_cast<std::int64_t>(expires);
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return text;
}

Result<std::vector<JoinLine>> parse_join_tokens(std::string_view text) {
  return parse_lines<JoinLine>(text, {kFirstLine, "list of tokens"}, parse_line);
}

std::string join_tokens_text(const std::vector<JoinLine>& lines) {
  std::string text = std::string(kFirstLine) + "\n";
  for (const JoinLine& line : lines) {
    text += line.grant.id + " " + line.hash + " " + std::to_string(line.grant.expires) + " " +
            (line.spent ? "spent" : "waiting") + " " + std::to_string(line.grant.life_seconds) +
            " " + identity_uri(line.grant.who) + " ";
    for (const std::string& name : line.grant.names) {
      text += (&name == &line.grant.names.front() ? "" : ",") + name;
    }
    text += "\n";
  }
  return text;
}

Result<std::vector<JoinLine>> JoinTokens::read() const {
  Result<std::string> text = read_text(path_, limits::kJoinTokensBytesMax);
  if (!text.ok() && text.status().code() == Code::kNotFound) return std::vector<JoinLine>();
  if (!text.ok()) return text.status();
  Result<std::vector<JoinLine>> lines = parse_join_tokens(text.value());
  if (lines.ok()) return lines;
  return Status(Code::kDenied, path_ + ": " + lines.status().text() +
                                   "; move it away, and the tokens in it are no good any more");
}

Status JoinTokens::write(const std::vector<JoinLine>& lines) const {
  const std::string text = join_tokens_text(lines);
  return replace_file(path_, std::as_bytes(std::span(text)), 0600);
}

Result<std::string> JoinTokens::make(JoinGrant grant, const CertificateHash& root,
                                     std::int64_t now) const {
  if (grant.expires <= now || grant.expires > now + limits::kJoinTokenSecondsMax) {
    return Status(Code::kUnsupported, "a token is good for at most 7 days");
  }
  Result<std::vector<JoinLine>> lines = read();
  if (!lines.ok()) return lines.status();
  std::erase_if(lines.value(), [&](const JoinLine& one) { return one.grant.expires < now; });
  if (lines->size() >= limits::kJoinTokensMax) {
    return Status(Code::kOverQuota, "1000 tokens wait to be used or to expire");
  }
  TokenBytes bytes{};
  fill_random(bytes);
  bytes[0] = std::byte{1};
  std::copy(root.begin(), root.end(), bytes.begin() + 1 + kIdBytes + kSecretBytes);
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[kTokenBytes - 8 + i] = static_cast<std::byte>(grant.expires >> 8 * i & 0xff);
  }
  const std::string token = to_text(bytes);
  grant.id = to_hex(std::span<const std::byte>(bytes).subspan(1, kIdBytes));
  OPENSSL_cleanse(bytes.data(), bytes.size());
  lines->push_back({.grant = std::move(grant), .hash = hash_of(token)});
  // Read as it will be.
  if (!parse_join_tokens(join_tokens_text(lines.value())).ok()) {
    return Status(Code::kUnsupported,
                  "a token is for a server: a host, zone and role of A-Z a-z 0-9 . _ -, names "
                  "without spaces");
  }
  if (Status written = write(lines.value()); !written.ok()) return written;
  return token;
}

Result<JoinLine*> JoinTokens::find(std::vector<JoinLine>& lines, std::string_view token,
                                   std::int64_t now) {
  Result<JoinTokenText> text = parse_join_token(token);
  if (!text.ok()) return text.status();
  const std::string hash = hash_of(token);
  JoinLine* found = nullptr;
  for (JoinLine& line : lines) {
    if (CRYPTO_memcmp(line.hash.data(), hash.data(), hash.size()) == 0) found = &line;
  }
  if (found == nullptr) {
    return no_good(text->expires < now ? "has expired" : "is not known here, or was changed");
  }
  if (found->spent) return no_good("was used before");
  if (found->grant.expires <= now) return no_good("has expired");
  return found;
}

Result<JoinGrant> JoinTokens::look(std::string_view token, std::int64_t now) const {
  Result<std::vector<JoinLine>> lines = read();
  if (!lines.ok()) return lines.status();
  Result<JoinLine*> found = find(lines.value(), token, now);
  if (!found.ok()) return found.status();
  return found.value()->grant;
}

Result<JoinGrant> JoinTokens::spend(std::string_view token, std::int64_t now) const {
  Result<std::vector<JoinLine>> lines = read();
  if (!lines.ok()) return lines.status();
  Result<JoinLine*> found = find(lines.value(), token, now);
  if (!found.ok()) return found.status();
  found.value()->spent = true;
  if (Status written = write(lines.value()); !written.ok()) return written;
  return found.value()->grant;
}

}  // namespace farcall::security
