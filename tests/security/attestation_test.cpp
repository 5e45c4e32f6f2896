// A server's certificate against its TPM's quote: who joins and renews, and who does not.
#include "security/attestation.h"

#include <array>
#include <fstream>

#include "security/golden.h"
#include "tests/security/authority_pool.h"
#include "tests/security/software_tpm.h"

using namespace farcall;
using namespace farcall::security;
using farcall::testing::AuthorityPool;
using farcall::testing::Member;
using farcall::testing::SoftwareTpm;

namespace {

constexpr std::int64_t kLife = 600;

bool says(const Status& status, const std::string& words) {
  CAPTURE(status.text());
  return !status.ok() && status.text().find(words) != std::string::npos;
}

// An authority that gives servers certificates for ten minutes, against quotes.
class AttestedPool {
 public:
  explicit AttestedPool(AttestNeed need = AttestNeed::kRequire) {
    set_golden(tpm);
    pool.serve_with(
        {.folder = pool.path("ca"),
         .names = {"ca.lab"},
         .attestation = {
             .need = need, .golden_path = pool.path("golden.toml"), .life_seconds = kLife}});
  }
  void set_golden(const SoftwareTpm& as) {
    GoldenClass one{.name = "lab", .servers = {"*"}, .manifests = {}, .pcrs = {}};
    for (const std::size_t i : std::array<std::size_t, 3>{0, 7, 8})
      one.pcrs[i] = {as.pcrs.values[i]};
    std::ofstream(pool.path("golden.toml")) << golden_text(one);
  }
  // With what `by` answers.
  Attester attester(const SoftwareTpm& by) {
    return [this, &by](QuoteBinding binding) -> Result<std::vector<std::byte>> {
      last = by.quote(binding);
      return last;
    };
  }
  Member joined(const std::string& name) {
    const auto path = pool.join(pool.token(name), name, attester(tpm));
    REQUIRE_MESSAGE(path.ok(), path.status().to_string());
    return {{pool.path(name + "/" + name + ".crt"), pool.path(name + "/" + name + ".key"),
             pool.path(name + "/ca.crt")},
            TlsContext::Side::kPeer};
  }
  Status renew(const Member& member, const Attester& attester) {
    return pool.renew(member, false, attester);
  }

  AuthorityPool pool;
  SoftwareTpm tpm;
  std::vector<std::byte> last;  // quote that was sent
};

}  // namespace

TEST_CASE("a server joins and renews against quotes, for minutes each") {
  AttestedPool lab;
  const Member gpu7 = lab.joined("gpu7");
  const auto life_left = [&] { return AuthorityPool::who(gpu7).not_after - std::time(nullptr); };
  CHECK(life_left() <= kLife);
  const std::string serial = AuthorityPool::who(gpu7).serial;
  lab.tpm.clock.resets += 2;
  const Status renewed = lab.renew(gpu7, lab.attester(lab.tpm));
  REQUIRE_MESSAGE(renewed.ok(), renewed.to_string());
  CHECK(AuthorityPool::who(gpu7).serial != serial);
  CHECK(life_left() <= kLife);
  const auto known = AttestedServers(lab.pool.ca().attested_path()).find("gpu7");
  REQUIRE(known.value().has_value());
  CHECK(known.value()->clock.resets == lab.tpm.clock.resets);
}

TEST_CASE("an altered PCR is no renewal, and is told with what it is and what it was to be") {
  AttestedPool lab;
  const Member gpu7 = lab.joined("gpu7");
  lab.tpm.extend(8, "another kernel");
  const Status refused = lab.renew(gpu7, lab.attester(lab.tpm));
  CHECK(says(refused, "PCR 8 is "));
  CHECK(says(refused, ", expected 0000"));
  lab.set_golden(lab.tpm);  // the next kernel is as it should be
  CHECK(lab.renew(gpu7, lab.attester(lab.tpm)).ok());
  // A machine that is not as it should be does not join, and its token stays good.
  const std::string token = lab.pool.token("gpu8");
  lab.tpm.extend(7, "another key");
  CHECK(says(lab.pool.join(token, "gpu8", lab.attester(lab.tpm)).status(), "PCR 7 is "));
  lab.set_golden(lab.tpm);
  CHECK(lab.pool.join(token, "gpu8", lab.attester(lab.tpm)).ok());
}

TEST_CASE("a quote is good for one connection, one TLS key and one TPM") {
  AttestedPool lab;
  const Member gpu7 = lab.joined("gpu7");
  const std::vector<std::byte> old = lab.last;
  CHECK(says(lab.renew(gpu7, [&](QuoteBinding) { return Result(old); }), "another question"));
  CHECK(says(lab.renew(gpu7,
                       [&](QuoteBinding binding) {
                         binding.tls_key[0] ^= std::byte{1};
                         return Result(lab.tpm.quote(binding));
                       }),
             "another TLS key"));
  const SoftwareTpm other;
  CHECK(says(lab.renew(gpu7, lab.attester(other)), "another TPM"));
  CHECK(says(lab.renew(gpu7,
                       [&](QuoteBinding binding) {
                         std::vector<std::byte> bytes = lab.tpm.quote(binding);
                         bytes.back() ^= std::byte{1};
                         return Result(bytes);
                       }),
             "other PCR values"));
  CHECK(says(lab.renew(gpu7, {}), "--tpm"));
  CHECK(says(lab.renew(gpu7,
                       [](QuoteBinding) -> Result<std::vector<std::byte>> {
                         return Status(Code::kSystem, "the TPM is broken");
                       }),
             "the TPM is broken"));
  CHECK(lab.renew(gpu7, lab.attester(lab.tpm)).ok());
}

TEST_CASE("who has no TPM registered: required of every server, or only of those that are known") {
  AttestedPool strict;
  const Member gpu1 = strict.pool.server("gpu1");
  CHECK(says(strict.renew(gpu1, {}), "--tpm"));
  CHECK(says(strict.renew(gpu1, strict.attester(strict.tpm)), "let it join anew"));
  CHECK(strict.pool.renew(strict.pool.client("ann")).ok());
  CHECK(says(strict.pool.join(strict.pool.token("gpu2"), "gpu2").status(), "--tpm"));

  AttestedPool lax(AttestNeed::kKnown);
  CHECK(lax.renew(lax.pool.server("gpu1"), {}).ok());
  CHECK(says(lax.renew(lax.joined("gpu7"), {}), "--tpm"));
}

TEST_CASE("without a golden set nobody is attested, and the authority says so to its operator") {
  AttestedPool lab;
  const Member gpu7 = lab.joined("gpu7");
  std::filesystem::remove(lab.pool.path("golden.toml"));
  CHECK(lab.renew(gpu7, lab.attester(lab.tpm)).code() == Code::kBusy);
  const auto service = AuthorityService::open(
      {.folder = lab.pool.path("ca"),
       .attestation = {.need = AttestNeed::kRequire, .golden_path = lab.pool.path("none.toml")}});
  CHECK(says(service.status(), "farcall attest golden"));
}
