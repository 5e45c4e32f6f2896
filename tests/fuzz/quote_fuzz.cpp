// How it works: the input is tried as a quote from a server and as an authority's list of attested
// servers. A quote that parses must be the input again when it is written; it
// is checked and judged as if it were the answer to the question that it says it answers.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>

#include "security/attested.h"
#include "security/golden.h"
#include "security/quote.h"

using namespace farcall;
using namespace farcall::security;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void quotes(std::span<const std::byte> bytes) {
  Result<Quote> quote = parse_quote(bytes);
  if (!quote.ok()) return;
  require(std::ranges::equal(encode_quote(quote.value()), bytes));
  const GoldenSet set{{{.name = "all", .servers = {"*"}, .manifests = {}, .pcrs = {{7, {{}}}}}}};
  static_cast<void>(judge(set, "gpu7", quote.value()));
  static_cast<void>(check_quote(quote.value(), {.nonce = {std::byte{1}}}));
}

void texts(std::string_view text) {
  Result<std::vector<AttestedServer>> servers = parse_attested(text);
  if (servers.ok()) require(attested_text(servers.value()) == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  quotes(std::as_bytes(std::span(data, size)));
  texts(std::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
