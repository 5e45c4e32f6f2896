#include "security/identity.h"

#include <doctest/doctest.h>

#include <array>
#include <string>

#include "security/crypto.h"

using namespace farcall;
using namespace farcall::security;

TEST_CASE("an identity survives being written as a URI and read back") {
  for (const char* uri :
       {"spiffe://lab/tenant/acme/user/ann", "spiffe://lab/server/gpu-1.test", "spiffe://lab"}) {
    Result<PeerIdentity> who = parse_identity_uri(uri);
    REQUIRE_MESSAGE(who.ok(), uri);
    CHECK(identity_uri(who.value()) == uri);
  }
  CHECK(parse_identity_uri("spiffe://lab/tenant/acme/user/ann")->tenant == "acme");
  CHECK(parse_identity_uri("spiffe://lab")->kind == IdentityKind::kAuthority);
}

TEST_CASE("a URI that is not exactly an identity is refused") {
  const std::string long_word(65, 'a');
  for (const std::string& uri : {
           std::string(""),
           std::string("spiffe://"),
           std::string("https://lab/server/a"),
           std::string("spiffe://lab/"),
           std::string("spiffe://lab/server"),
           std::string("spiffe://lab/server/"),
           std::string("spiffe://lab/server/a/b"),
           std::string("spiffe://lab/tenant/acme"),
           std::string("spiffe://lab/tenant//user/ann"),
           std::string("spiffe://lab/tenant/a/user/b/c"),
           std::string("spiffe://lab/server/a b"),
           std::string("spiffe://lab/server/a\0b", 22),
           "spiffe://lab/server/" + long_word,
           std::string("spiffe://lab/server/a,DNS:evil"),
       }) {
    CHECK_MESSAGE(!parse_identity_uri(uri).ok(), uri);
  }
}

TEST_CASE("HKDF-Expand gives the bytes of RFC 5869, test case 1") {
  // PRK and info of appendix A.1.
  const std::array<unsigned char, 32> prk = {0x07, 0x77, 0x09, 0x36, 0x2c, 0x2e, 0x32, 0xdf,
                                             0x0d, 0xdc, 0x3f, 0x0d, 0xc4, 0x7b, 0xba, 0x63,
                                             0x90, 0xb6, 0xc7, 0x3b, 0xb5, 0x0f, 0x9c, 0x31,
                                             0x22, 0xec, 0x84, 0x4a, 0xd7, 0xc2, 0xb3, 0xe5};
  const std::string info = "\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9";
  std::array<std::byte, 42> out{};
  REQUIRE(hkdf_expand(std::as_bytes(std::span(prk)), info, out).ok());
  CHECK(to_hex(out) ==
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
}
