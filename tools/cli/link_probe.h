// What a link costs: measured by asking a server's probe rows (transport/api/hand.h), and what that
// means for a program, in words.
//
//   Result<LinkFigures> figures = measure_link(*session);
//   std::puts(describe(judge(figures.value())).c_str());
//
// Takes about two seconds on any link: slow ones are measured with fewer and smaller questions.
// Threads: one; the session is used by nobody else meanwhile.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "transport/base/status.h"
#include "transport/link/session.h"

namespace farcall::cli {

// Who seals and opens at one end, and what it costs there on one thread.
struct CryptoEnd {
  std::string engine;  // "ipsec-mb"
  unsigned cores = 0;
  double seal_64_ns = 0;
  double seal_16k_ns = 0;
  double gb_s() const { return seal_16k_ns > 0 ? 16384 / seal_16k_ns : 0; }
};

struct RoundTrip {
  double median_us = 0, p99_us = 0, lowest_us = 0;
  double jitter_us = 0;  // mean difference of one round trip and the next
  std::size_t count = 0;
};
RoundTrip round_trip_of(std::vector<double> each_us);

struct LinkFigures {
  std::string link;           // Session::describe()
  RoundTrip round_trip;       // 64 bytes each way
  double queued_us = 0;       // a call that nobody waits for, in a burst
  double to_server_gb_s = 0;  // payloads, until the last byte is opened there
  double to_client_gb_s = 0;
  CryptoEnd client, server;
  link::LinkStats stats;  // of this end, when all was measured
};
// Errors: why the session closed; kUnsupported when the server's answers make no sense.
Result<LinkFigures> measure_link(link::Session& session);

// What it comes to for a program.
struct Verdict {
  enum class Bottleneck { kLatency, kWire, kCrypto };
  Bottleneck bottleneck = Bottleneck::kLatency;
  double launch_us = 0;       // nobody waits for it
  double synchronize_us = 0;  // a wait, the GPU's own time aside
  double copy_in_1gib_s = 0;
  double copy_out_1gib_s = 0;
  double crypto_share = 0;  // of the time that a copied byte takes, the busier way
};
Verdict judge(const LinkFigures& figures);
const char* name_of(Verdict::Bottleneck bottleneck);  // "latency", "wire", "crypto"
// Sentences for people, one a line.
std::string describe(const Verdict& verdict);

}  // namespace farcall::cli
