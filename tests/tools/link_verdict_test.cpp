#include <doctest/doctest.h>

#include "tools/cli/link_probe.h"

using namespace farcall::cli;

namespace {

// A link of one machine: short waits, 2.5 GB/s, both ends seal at about 8 GB/s.
LinkFigures near_link() {
  LinkFigures figures;
  figures.round_trip = {.median_us = 10, .p99_us = 20, .lowest_us = 9, .jitter_us = 1, .count = 9};
  figures.queued_us = 0.4;
  figures.to_server_gb_s = 2.5;
  figures.to_client_gb_s = 2.0;
  figures.client = {"ipsec-mb", 2, 35, 2048};
  figures.server = {"ipsec-mb", 2, 35, 2048};
  return figures;
}

bool says(const LinkFigures& figures, const char* words) {
  return describe(judge(figures)).find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("round trips are summed up by median, 99 of 100, lowest and step to step") {
  std::vector<double> each(100, 10.0);
  each[50] = 60;  // two steps of 50
  const RoundTrip trip = round_trip_of(each);
  CHECK(trip.count == 100);
  CHECK(trip.median_us == 10);
  CHECK(trip.lowest_us == 10);
  CHECK(trip.p99_us == 60);
  CHECK(trip.jitter_us == doctest::Approx(100.0 / 99));
  CHECK(round_trip_of({}).count == 0);
  CHECK(round_trip_of({7}).jitter_us == 0);
}

TEST_CASE("a short fast link is limited by the wire while encryption is cheap") {
  const Verdict verdict = judge(near_link());
  CHECK(verdict.bottleneck == Verdict::Bottleneck::kWire);
  CHECK(verdict.launch_us == 0.4);
  CHECK(verdict.synchronize_us == 10);
  CHECK(verdict.copy_in_1gib_s == doctest::Approx(0.4295).epsilon(0.001));
  CHECK(verdict.copy_out_1gib_s == doctest::Approx(0.5369).epsilon(0.001));
  CHECK(verdict.crypto_share == doctest::Approx(2.5 / 8));
  CHECK(says(near_link(), "0.43 s to the GPU and 0.54 s back"));
}

TEST_CASE("the slower end's engine is what makes encryption the bottleneck") {
  LinkFigures figures = near_link();
  figures.server = {"EVP", 2, 200, 3855};  // 4.25 GB/s
  CHECK(judge(figures).bottleneck == Verdict::Bottleneck::kCrypto);
  CHECK(says(figures, "encryption: it takes 59 %"));
}

TEST_CASE("long waits are named before anything else") {
  LinkFigures figures = near_link();
  figures.round_trip.median_us = 5000;
  figures.server.seal_16k_ns = 6000;
  CHECK(judge(figures).bottleneck == Verdict::Bottleneck::kLatency);
  CHECK(says(figures, "waits 100 times a second loses 50.0 %"));
}

TEST_CASE("figures that are missing are nobody's bottleneck") {
  const Verdict verdict = judge({});
  CHECK(verdict.copy_in_1gib_s == 0);
  CHECK(verdict.crypto_share == 0);
}
