// Quotes of TPMs: what is read, what is refused, and how they are judged.
#include "security/quote.h"

#include <doctest/doctest.h>

#include <array>

#include "security/attested.h"
#include "security/digest.h"
#include "security/file.h"
#include "security/golden.h"
#include "tests/security/recorded_quote.h"
#include "tests/support/temporary_folder.h"

using namespace farcall;
using namespace farcall::security;
using farcall::testing::filled_with;
using farcall::testing::recorded_binding;
using farcall::testing::recorded_quote;

namespace {

bool says(const Status& status, const std::string& words) {
  CAPTURE(status.text());
  return !status.ok() && status.text().find(words) != std::string::npos;
}

Quote recorded() {
  Result<Quote> quote = parse_quote(recorded_quote());
  REQUIRE_MESSAGE(quote.ok(), quote.status().to_string());
  return quote.value();
}

// What a TPM has in a PCR that was extended once.
Sha256 extended_with(std::string_view text) {
  std::array<std::byte, 64> both{};
  const Sha256 digest = sha256(bytes_of(text));
  std::copy(digest.begin(), digest.end(), both.begin() + 32);
  return sha256(both);
}

}  // namespace

TEST_CASE("a TPM's quote says what was extended, and for what it was asked") {
  const Quote quote = recorded();
  CHECK(check_quote(quote, recorded_binding()).ok());
  CHECK(encode_quote(quote) == recorded_quote());
  CHECK(quote.pcrs.mask == 0x1fbff);
  CHECK(quote.pcrs.values[0] == extended_with("firmware"));
  CHECK(quote.pcrs.values[8] == extended_with("kernel"));
  CHECK(quote.pcrs.values[16] == extended_with("manifest"));
  CHECK(quote.pcrs.values[1] == Sha256{});
  CHECK(quote.clock.resets == 1);
  CHECK(quote.manifest == filled_with(3));
}

TEST_CASE("a quote for another question or another TLS key is refused") {
  QuoteBinding later = recorded_binding();
  later.nonce.back() ^= std::byte{1};
  CHECK(says(check_quote(recorded(), later), "another question"));
  QuoteBinding other = recorded_binding();
  other.tls_key.front() ^= std::byte{1};
  CHECK(says(check_quote(recorded(), other), "another question"));
}

TEST_CASE("a quote of which any bit was changed, or a part is missing, is refused") {
  const std::vector<std::byte> good = recorded_quote();
  for (std::size_t bit = 0; bit < good.size() * 8; bit += 3) {
    std::vector<std::byte> bad = good;
    bad[bit / 8] ^= std::byte(1 << bit % 8);
    const Result<Quote> quote = parse_quote(bad);
    const bool is_refused = !quote.ok() || !check_quote(quote.value(), recorded_binding()).ok();
    CHECK_MESSAGE(is_refused, "bit " << bit << " may be changed");
  }
  for (std::size_t bytes = 0; bytes < good.size(); ++bytes) {
    CHECK(parse_quote(std::span(good).first(bytes)).status().code() == Code::kMalformed);
  }
}

TEST_CASE("what differs from the golden set is told with what was expected") {
  const Quote quote = recorded();
  GoldenClass one{.name = "dl380", .servers = {"gpu1"}, .manifests = {filled_with(3)}, .pcrs = {}};
  one.pcrs[0] = {filled_with(9), extended_with("firmware")};
  one.pcrs[8] = {extended_with("kernel")};
  GoldenSet set{{one}};
  CHECK(judge(set, "gpu1", quote).ok());
  CHECK(says(judge(set, "gpu2", quote), "no class of machines for gpu2"));
  set.classes[0].servers = {"*"};
  CHECK(judge(set, "gpu2", quote).ok());
  set.classes[0].pcrs[8] = {extended_with("former kernel")};
  const Status refused = judge(set, "gpu2", quote);
  CHECK(says(refused, "PCR 8 is "));
  CHECK(says(refused, ", expected "));
  CHECK_FALSE(says(refused, "PCR 0"));
  set.classes[0].pcrs[10] = {Sha256{}};
  CHECK(says(judge(set, "gpu2", quote), "PCR 10 is not in the quote"));
  set.classes[0].manifests = {filled_with(4)};
  CHECK(says(judge(set, "gpu2", quote), "the manifest is 0303"));
}

TEST_CASE("a golden set is read as it was written, and mistakes are told by line") {
  GoldenClass one{.name = "dl380", .servers = {"gpu1", "*"}, .manifests = {}, .pcrs = {}};
  one.pcrs[0] = {filled_with(1), filled_with(2)};
  one.pcrs[16] = {filled_with(0)};
  Result<GoldenSet> back = parse_golden(golden_text(one), "g");
  REQUIRE_MESSAGE(back.ok(), back.status().to_string());
  CHECK(back->classes == std::vector{one});

  const std::string value = "[\"" + std::string(64, 'a') + "\"]\n";
  const auto wrong = [&](const std::string& text) { return parse_golden(text, "g").status(); };
  CHECK(says(wrong(""), "no [[class]]"));
  CHECK(says(wrong("[[class]]\nservers = [\"a\"]\n"), "nothing would be checked"));
  CHECK(says(wrong("[[class]]\n[class.pcr]\n0 = " + value), "for whom"));
  CHECK(says(wrong("[[class]]\nservers = [\"a\"]\n[class.pcr]\n24 = " + value), "line 4"));
  CHECK(says(wrong("[[class]]\nservers = [\"a\"]\n[class.pcr]\n0 = [\"12\"]\n"), "64 hexadecimal"));
  CHECK(says(wrong("[[class]]\nserver = [\"a\"]\n"), "has no 'server'"));
  const std::string twice = "[[class]]\nservers = [\"a\"]\n[class.pcr]\n0 = " + value;
  CHECK(says(wrong(twice + twice), "a is in another class"));
}

TEST_CASE("an authority keeps one attestation key for each server") {
  const testing::TemporaryFolder folder;
  const AttestedServers known(folder.path() + "/attested");
  CHECK_FALSE(known.find("gpu1").value().has_value());
  const AttestedServer gpu2{
      .host = "gpu2", .key = std::string(64, 'a'), .clock = {5, 1, 0}, .at = 9};
  AttestedServer gpu1 = gpu2;
  gpu1.host = "gpu1";
  REQUIRE(known.put(gpu2).ok());
  REQUIRE(known.put(gpu1).ok());
  gpu1.clock.resets = 7;
  REQUIRE(known.put(gpu1).ok());
  CHECK(known.all().value() == std::vector{gpu1, gpu2});
  CHECK(known.find("gpu1").value() == gpu1);
  CHECK(since_then({5, 1, 0}, {6, 1, 0}).empty());
  CHECK(since_then({5, 1, 0}, {6, 3, 0}) == "it was started 2 times since its last quote");
  CHECK(since_then({5, 1, 0}, {6, 1, 1}) == "it was suspended once since its last quote");
  CHECK(since_then({5, 1, 0}, {1, 0, 0}) == "its TPM was cleared since its last quote");
  CHECK(says(parse_attested("farcall-attested 1\ngpu1 aa 1 0 5 9\n").status(), "line 2"));
}
