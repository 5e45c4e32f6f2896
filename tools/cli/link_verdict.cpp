// What the figures of a link come to for a program.
#include <algorithm>
#include <cstdarg>
#include <cstdio>

#include "tools/cli/link_probe.h"

namespace farcall::cli {
namespace {

constexpr double kGib = 1024.0 * 1024 * 1024;
// Beyond this, waiting for answers is what a program notices first: a training step of a small
// network takes a few hundred microseconds on a GPU of its own.
constexpr double kNoticeableWaitUs = 100;

std::string text(const char* format, ...) __attribute__((format(printf, 1, 2)));
std::string text(const char* format, ...) {
  char room[256];
  va_list values;
  va_start(values, format);
  std::vsnprintf(room, sizeof room, format, values);
  va_end(values);
  return room;
}

// Of the time that one byte takes, how much the slower of its two ends spends on sealing it.
double share(double gb_s, const LinkFigures& figures) {
  const double slower = std::min(figures.client.gb_s(), figures.server.gb_s());
  return slower > 0 ? std::min(1.0, gb_s / slower) : 0;
}

double seconds_for_gib(double gb_s) { return gb_s > 0 ? kGib / (gb_s * 1e9) : 0; }

}  // namespace

Verdict judge(const LinkFigures& figures) {
  Verdict verdict;
  verdict.launch_us = figures.queued_us;
  verdict.synchronize_us = figures.round_trip.median_us;
  verdict.copy_in_1gib_s = seconds_for_gib(figures.to_server_gb_s);
  verdict.copy_out_1gib_s = seconds_for_gib(figures.to_client_gb_s);
  verdict.crypto_share =
      std::max(share(figures.to_server_gb_s, figures), share(figures.to_client_gb_s, figures));
  if (figures.round_trip.median_us > kNoticeableWaitUs) {
    verdict.bottleneck = Verdict::Bottleneck::kLatency;
  } else if (verdict.crypto_share > 0.5) {
    verdict.bottleneck = Verdict::Bottleneck::kCrypto;
  } else {
    verdict.bottleneck = Verdict::Bottleneck::kWire;
  }
  return verdict;
}

const char* name_of(Verdict::Bottleneck bottleneck) {
  switch (bottleneck) {
    case Verdict::Bottleneck::kLatency: return "latency";
    case Verdict::Bottleneck::kWire: return "wire";
    case Verdict::Bottleneck::kCrypto: break;
  }
  return "crypto";
}

std::string describe(const Verdict& verdict) {
  std::string all = text("A launch costs about %.2f us; nobody waits for it.\n", verdict.launch_us);
  all +=
      text("A synchronize, or any call with an answer, costs %.0f us beside the GPU's own time.\n",
           verdict.synchronize_us);
  all += text("Copying 1 GiB takes %.2f s to the GPU and %.2f s back.\n", verdict.copy_in_1gib_s,
              verdict.copy_out_1gib_s);
  const double percent = verdict.crypto_share * 100;
  switch (verdict.bottleneck) {
    case Verdict::Bottleneck::kLatency:
      all += text(
          "The bottleneck is latency: a program that waits 100 times a second loses %.1f %% "
          "of its time.\nFewer waits help (asynchronous copies, one synchronize per step); "
          "more bandwidth does not.\n",
          verdict.synchronize_us * 100 / 1e6 * 100);
      break;
    case Verdict::Bottleneck::kCrypto:
      all += text(
          "The bottleneck is encryption: it takes %.0f %% of a copy's time on one core. A "
          "processor\nwith vector AES (VAES) and ipsec-mb at both ends does it in less.\n",
          percent);
      break;
    case Verdict::Bottleneck::kWire:
      all += text(
          "The bottleneck is the wire, or the kernel's copying to and from it: encryption "
          "takes %.0f %%\nof a copy's time, and waits are short.\n",
          percent);
      break;
  }
  return all;
}

}  // namespace farcall::cli
