// farcall netperf: what the link to a server costs, without its GPU.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/cli/commands.h"
#include "tools/cli/connection.h"
#include "tools/cli/link_probe.h"
#include "transport/link/dial.h"

namespace farcall::cli {
namespace {

nlohmann::ordered_json to_json(const CryptoEnd& end) {
  return {{"engine", end.engine},
          {"cores", end.cores},
          {"seal_64_bytes_ns", end.seal_64_ns},
          {"seal_16_kib_ns", end.seal_16k_ns}};
}

nlohmann::ordered_json helpers_to_json(const link::LinkStats& stats) {
  return {{"threads", stats.crypto_threads},
          {"records_by_threads", stats.records_by_helpers},
          {"records_beside_threads", stats.records_by_callers}};
}

void print_json(const std::string& server, const link::HelloInfo& hello,
                const LinkFigures& figures) {
  const RoundTrip& trip = figures.round_trip;
  const Verdict verdict = judge(figures);
  const nlohmann::ordered_json all = {{"server", server},
                                      {"server_version", hello.server_version},
                                      {"link", figures.link},
                                      {"carrier", link::name_of(hello.carrier)},
                                      {"carrier_reason", hello.carrier_reason},
                                      {"lanes", hello.stripes},
                                      {"compressed", hello.compress},
                                      {"tcp_round_trip_us", hello.round_trip_us},
                                      {"round_trip",
                                       {{"median_us", trip.median_us},
                                        {"p99_us", trip.p99_us},
                                        {"lowest_us", trip.lowest_us},
                                        {"jitter_us", trip.jitter_us},
                                        {"count", trip.count}}},
                                      {"queued_call_us", figures.queued_us},
                                      {"to_server_gb_s", figures.to_server_gb_s},
                                      {"to_client_gb_s", figures.to_client_gb_s},
                                      {"client", to_json(figures.client)},
                                      {"crypto_helpers", helpers_to_json(figures.stats)},
                                      {"server_end", to_json(figures.server)},
                                      {"verdict",
                                       {{"bottleneck", name_of(verdict.bottleneck)},
                                        {"launch_us", verdict.launch_us},
                                        {"synchronize_us", verdict.synchronize_us},
                                        {"copy_in_1_gib_s", verdict.copy_in_1gib_s},
                                        {"copy_out_1_gib_s", verdict.copy_out_1gib_s},
                                        {"crypto_share", verdict.crypto_share}}}};
  std::printf("%s\n", all.dump(2).c_str());
}

void print_end(const char* label, const CryptoEnd& end) {
  std::printf("%-12s %s on %u cores: 64 B in %.0f ns, bulk at %.1f GB/s a core\n", label,
              end.engine.c_str(), end.cores, end.seal_64_ns, end.gb_s());
}

void print_table(const std::string& server, const link::HelloInfo& hello,
                 const LinkFigures& figures) {
  const RoundTrip& trip = figures.round_trip;
  std::printf("%-12s %s, farcall %s\n", "server", server.c_str(), hello.server_version.c_str());
  std::printf("%-12s %s\n", "link", figures.link.c_str());
  std::printf("%-12s %s%s%s\n", "carrier", link::name_of(hello.carrier),
              hello.carrier_reason.empty() ? "" : ": ", hello.carrier_reason.c_str());
  std::printf("%-12s median %.1f us, 99 of 100 below %.1f us, lowest %.1f us, jitter %.1f us\n",
              "round trip", trip.median_us, trip.p99_us, trip.lowest_us, trip.jitter_us);
  std::printf("%-12s %.2f GB/s to the server, %.2f GB/s from it\n", "bandwidth",
              figures.to_server_gb_s, figures.to_client_gb_s);
  print_end("seals here", figures.client);
  print_end("seals there", figures.server);
  const link::LinkStats& stats = figures.stats;
  if (stats.crypto_threads > 0) {
    std::printf("%-12s %u threads here sealed or opened %llu records, %llu were done beside them\n",
                "helpers", stats.crypto_threads,
                static_cast<unsigned long long>(stats.records_by_helpers),
                static_cast<unsigned long long>(stats.records_by_callers));
  }
  std::printf("\n%s", describe(judge(figures)).c_str());
}

}  // namespace

int measure_network(const NetperfOptions& options) {
  Connection connection = options.connection;
  if (Status status = complete(&connection); !status.ok()) return fail(status);
  link::HelloInfo hello;
  auto session = connect(connection, &hello);
  if (!session.ok()) return fail(session.status());
  Result<LinkFigures> figures = measure_link(*session.value());
  if (!figures.ok()) return fail(figures.status());
  session.value()->close(Status(Code::kClosed, "the link was only measured"));
  options.json ? print_json(connection.server, hello, figures.value())
               : print_table(connection.server, hello, figures.value());
  return 0;
}

}  // namespace farcall::cli
