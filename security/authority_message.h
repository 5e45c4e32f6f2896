// What is said between the authority's service and those who want a certificate of it.
//
//   std::vector<std::byte> bytes = encode(AuthorityRequest{.kind = kRenew, …});
//   Result<AuthorityRequest> back = parse_request(bytes);
//
// Over TLS 1.3 and in no other way; one request, one reply, then the connection ends. No protocol
// library, because both are a handful of bounded fields that are as they are: Cap'n Proto would
// bring a larger parser to the one program that holds the issuing key. Little endian:
//   request  "FCCA", u8 version 1, u8 kind, u16 0, u32 length of the rest ≤ 10 KiB, then
//            u32 life in seconds (0: what the service gives), then three fields, each u16 n, n
//            bytes: renewal (kind 1): identity URI, certificate (PEM), signing request (DER,
//            key_request.h) joining (kind 2): token, nothing, signing request
//            and, of a server that has one, a fourth: its TPM's quote (quote.h)
//   reply    "FCCR", u8 version 1, u8 code (0: granted), u16 0, u32 length of the rest ≤ 32 KiB,
//   then
//            two fields, each u16 n, n bytes:
//            granted: certificate chain (PEM), the root's certificate (PEM)
//            refused: why, printable; nothing
// Threads: plain values.  Parsers take hostile bytes.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "transport/base/status.h"

namespace farcall::security {

inline constexpr std::size_t kAuthorityHeaderBytes = 12;

enum class AuthorityAsk : std::uint8_t { kRenew = 1, kJoin = 2 };
struct AuthorityRequest {
  AuthorityAsk kind = AuthorityAsk::kRenew;
  std::uint32_t life_seconds = 0;  // 0: what the service gives
  std::string name;                // identity URI, or token
  std::string certificate{};       // PEM, of a renewal
  std::vector<std::byte> key_request;
  std::vector<std::byte> quote{};  // empty: none
  bool operator==(const AuthorityRequest&) const = default;
};

struct AuthorityReply {
  Status refusal;  // ok: granted
  std::string chain_pem{};
  std::string root_pem{};
};

std::vector<std::byte> encode(const AuthorityRequest& request);
std::vector<std::byte> encode(const AuthorityReply& reply);

// How many bytes follow a header.  Errors: kMalformed.
Result<std::size_t> request_bytes(std::span<const std::byte, kAuthorityHeaderBytes> header);
Result<std::size_t> reply_bytes(std::span<const std::byte, kAuthorityHeaderBytes> header);
// Of header and what follows.  Errors: kMalformed.
Result<AuthorityRequest> parse_request(std::span<const std::byte> bytes);
Result<AuthorityReply> parse_reply(std::span<const std::byte> bytes);

}  // namespace farcall::security
