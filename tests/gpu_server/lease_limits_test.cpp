// Limits of a lease as text.
#include "gpu_server/lease_limits.h"

#include <doctest/doctest.h>

namespace farcall::server {
namespace {

LeaseLimits parsed(std::string_view text) {
  Result<LeaseLimits> limits = parse_lease_limits(text);
  REQUIRE_MESSAGE(limits.ok(), limits.status().text());
  return limits.value();
}

TEST_CASE("limits of a lease are read from a text and written as the same text") {
  const char* text =
      "memory=20GiB,compute=30,sessions=4,threads=64,handles=100000,images=1536MiB,in-flight=64MiB";
  LeaseLimits limits = parsed(text);
  CHECK(limits.memory_bytes == std::uint64_t{20} << 30);
  CHECK(limits.compute_percent == 30);
  CHECK(limits.sessions_max == 4);
  CHECK(limits.threads_max == 64);
  CHECK(limits.handles_max == 100000);
  CHECK(limits.image_bytes_max == std::uint64_t{1536} << 20);
  CHECK(limits.in_flight_bytes_max == 64u << 20);
  CHECK(to_string(limits) == text);
  CHECK(parsed(to_string(limits)) == limits);
}

TEST_CASE("what is not named has no limit") {
  CHECK(parsed("") == LeaseLimits{});
  CHECK(to_string(LeaseLimits{}).empty());
  LeaseLimits limits = parsed("sessions=2");
  CHECK(limits.memory_bytes == kNoLimit);
  CHECK(limits.compute_percent == 100);
  CHECK(to_string(limits) == "sessions=2");
}

TEST_CASE("sizes have binary units") {
  for (const auto& each : {std::pair<const char*, std::uint64_t>{"1", 1},
                           {"1000", 1000},
                           {"64K", 64 << 10},
                           {"512MiB", 512 << 20},
                           {"1.5G", std::uint64_t{3} << 29},
                           {"2TiB", std::uint64_t{2} << 40}}) {
    const auto [text, bytes] = each;
    INFO(each.first);
    Result<std::uint64_t> read = parse_bytes(text);
    REQUIRE(read.ok());
    CHECK(read.value() == bytes);
    CHECK(parse_bytes(bytes_text(bytes)).value() == bytes);
  }
}

TEST_CASE("a text that is no limit is refused, naming the word") {
  for (const char* text :
       {"memory", "memory=", "memory=0", "memory=-1G", "memory=1GB", "memory=nan", "memory=1e400",
        "memory=9999999T", "compute=0", "compute=101", "compute=30%", "sessions=0", "sessions=x",
        "sessions=4294967296", "cores=2", "memory=1G,memory=2G", "sessions=1,", ",", "=1"}) {
    CAPTURE(text);
    Result<LeaseLimits> limits = parse_lease_limits(text);
    CHECK(limits.status().code() == Code::kUnsupported);
    CHECK(limits.status().text().find('"') != std::string::npos);
  }
  CHECK(!parse_lease_limits(std::string(2000, 'm')).ok());
}

TEST_CASE("the help names every word") {
  for (const char* word :
       {"memory", "compute", "sessions", "threads", "handles", "images", "in-flight"}) {
    CHECK(lease_limits_help().find(word) != std::string::npos);
  }
}

}  // namespace
}  // namespace farcall::server
