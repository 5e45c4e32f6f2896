// How it works: the input is tried as the URI name of a certificate, then as an authority's index.
// What parses must survive being written and parsed again, so that no two texts mean the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "security/ca_index.h"
#include "security/identity.h"

using namespace farcall;
using namespace farcall::security;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void name(std::string_view text) {
  Result<PeerIdentity> who = parse_identity_uri(text);
  if (who.ok()) require(identity_uri(who.value()) == text);
}

void index(std::string_view text) {
  Result<std::vector<IndexLine>> lines = parse_index(text);
  if (!lines.ok()) return;
  std::string again = "farcall-ca-index 1\n";
  for (const IndexLine& line : lines.value()) again += index_line(line);
  // Without what a crash cut short.
  const std::string_view whole = text.substr(0, text.rfind('\n') + 1);
  require(whole.empty() ? lines->empty() : again == whole);
  for (const Issued& one : issued_of(lines.value())) {
    static_cast<void>(word(standing_of(one, one.who.not_after - 1)));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  name(text);
  index(text);
  return 0;
}
