#include "tools/cli/lease_text.h"

#include <doctest/doctest.h>

#include "tests/security/lease_issuer.h"
#include "tools/cli/units.h"

using namespace farcall;
using namespace farcall::cli;

TEST_CASE("sizes are written as people write them") {
  CHECK(parse_size("20G").value() == std::uint64_t{20} << 30);
  CHECK(parse_size("512MiB").value() == std::uint64_t{512} << 20);
  CHECK(parse_size("4096").value() == 4096);
  CHECK(size_text(std::uint64_t{20} << 30) == "20 GiB");
  CHECK(size_text(std::uint64_t{1536} << 20) == "1536 MiB");
  CHECK(size_text(1000) == "1000 bytes");
  for (const char* wrong : {"", "G", "0", "-1G", "1.5G", "20GB", "20 G", "99999999T", "1Gi"}) {
    CHECK_MESSAGE(parse_size(wrong).status().code() == Code::kUnsupported, wrong);
  }
}

TEST_CASE("lengths of time are written as people write them") {
  CHECK(parse_duration("4h").value() == 4 * 3600);
  CHECK(parse_duration("1h30m").value() == 5400);
  CHECK(parse_duration("2d").value() == 2 * 86'400);
  CHECK(parse_duration("45s").value() == 45);
  CHECK(duration_text(14'340) == "3 h 59 min");
  CHECK(duration_text(12) == "12 s");
  CHECK(duration_text(90'000) == "1 d 1 h");
  for (const char* wrong :
       {"", "4", "h", "0s", "-1h", "4 h", "4x", "4hh", "99999999999999d", "9223372036854775807s"}) {
    CHECK_MESSAGE(parse_duration(wrong).status().code() == Code::kUnsupported, wrong);
  }
}

TEST_CASE("families of calls are granted by name") {
  CHECK(parse_families("").value() == 1);
  CHECK(parse_families("memory,launch").value() == (1 | 1 << 5 | 1 << 10));
  CHECK(families_text(~std::uint64_t{0}) == "all");
  CHECK(families_text(1 | 1 << 5) == "session, memory");
  CHECK(families_text(~(std::uint64_t{1} << 15)) == "all but graph");
  const Status wrong = parse_families("memory,kernels").status();
  CHECK(wrong.code() == Code::kUnsupported);
  CHECK(wrong.text().find("\"kernels\"") != std::string::npos);
  CHECK(parse_data_class("confidential").value() == security::DataClass::kConfidential);
  CHECK(parse_data_class("secret").status().code() == Code::kUnsupported);
}

TEST_CASE("a lease is told whole") {
  security::LeaseToken lease = farcall::testing::LeaseIssuer::sample();
  const std::string text = describe(lease, lease.expires - 60);
  for (const char* words :
       {"serial 7", "tenant acme, user ann of pool lab", "project       vision", "train, then test",
        "gpu1", "20 GiB of each device", "30 %", "4 at a time", "confidential", "aes-256-gcm",
        "2027-01-15 09:00:00 UTC (1 min 0 s left)"}) {
    CHECK_MESSAGE(text.find(words) != std::string::npos, words);
  }
  CHECK(describe(lease, lease.expires + 5).find("expired 5 s ago") != std::string::npos);
  CHECK(describe(lease, lease.not_before - 5).find("begins in 5 s") != std::string::npos);
}
