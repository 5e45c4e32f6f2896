// How it works: the input is tried as a request to the authority's service, as its reply, as a
// one-time token, as the authority's list of tokens and as a signing request. What parses and has
// one encoding must be the input again when it is written.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>

#include "security/authority_message.h"
#include "security/join_token.h"
#include "security/key_request.h"

using namespace farcall;
using namespace farcall::security;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void messages(std::span<const std::byte> bytes) {
  Result<AuthorityRequest> request = parse_request(bytes);
  if (request.ok()) {
    require(std::ranges::equal(encode(request.value()), bytes));
    static_cast<void>(check_key_request(request->key_request));
  }
  Result<AuthorityReply> reply = parse_reply(bytes);
  if (reply.ok()) require(parse_reply(encode(reply.value())).ok());
}

void tokens(std::string_view text) {
  static_cast<void>(parse_join_token(text));
  Result<std::vector<JoinLine>> lines = parse_join_tokens(text);
  if (lines.ok()) require(join_tokens_text(lines.value()) == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  messages(bytes);
  tokens(std::string_view(reinterpret_cast<const char*>(data), size));
  static_cast<void>(check_key_request(bytes));
  return 0;
}
