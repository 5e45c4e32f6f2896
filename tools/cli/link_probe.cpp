#include "tools/cli/link_probe.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <thread>

#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/link/compress.h"
#include "transport/link/engine.h"

namespace farcall::cli {
namespace {

namespace hand = api::hand;
namespace row = api::row;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kEchoBytes = 64;
constexpr std::size_t kRoundTripsMax = 4000;
constexpr std::size_t kQueuedCalls = 20'000;  // of kQueuedBytes: a small launch
constexpr std::size_t kQueuedBytes = 128;
constexpr double kEachSeconds = 0.4;  // for each kind of question
constexpr std::uint64_t kFirstPayload = 256 * 1024;
constexpr double kPayloadGrowth = 16;  // a step that misjudges costs so much more than it should
constexpr std::uint64_t kPayloadMax = std::uint64_t{64} << 20;
constexpr std::int64_t kAnswerMs = 60'000;
static_assert(kPayloadMax <= limits::kProbePayloadBytesMax);
static_assert(kQueuedBytes <= limits::kProbeEchoBytesMax);

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// One question after the other on the session.
class Probe {
 public:
  explicit Probe(link::Session& session) : session_(session) {}

  Status facts(CryptoEnd* end);
  Status round_trips(std::vector<double>* each_us);
  Status queued(double* us);
  Status bandwidth(bool to_server, double* gb_s);

 private:
  using Encode = link::Session::Encode;
  // Takes frames until the answer to `call` is there; `rest` gets what stands behind the status.
  Status answer(const Result<std::uint32_t>& call, wire::Reader* rest);
  Status echo(std::size_t bytes);
  Status copy(bool to_server, std::span<std::byte> payload, double* seconds);

  link::Session& session_;
};

wire::FrameHeader head_of(std::uint16_t id, std::uint16_t flags = wire::kWantsReply) {
  return {.id = id, .flags = flags, .thread = 1};
}

Status Probe::answer(const Result<std::uint32_t>& call, wire::Reader* rest) {
  if (!call.ok()) return call.status();
  for (;;) {
    Result<link::Frame> frame = session_.receive(Deadline::after(system_clock(), kAnswerMs));
    if (!frame.ok()) return frame.status();
    if (frame.value().head.call != call.value()) continue;  // a notice
    wire::Reader in(frame.value().body);
    if (in.get<std::uint32_t>() != 0 || in.failed()) {
      return {Code::kUnsupported, "the server does not answer its probe"};
    }
    *rest = in;
    return ok();
  }
}

Status Probe::facts(CryptoEnd* end) {
  wire::Reader in({});
  const auto nothing = [](wire::Writer&) {};
  FARCALL_TRY(
      answer(session_.post(head_of(row::probe_facts::info().id), link::Flush::kNow, nothing), &in));
  const auto told = in.get<hand::ProbeFacts>();
  if (!in.done() || !(told.seal_64_ns > 0) || !(told.seal_16k_ns > 0)) {
    return {Code::kUnsupported, "the server's facts about its engine make no sense"};
  }
  const bool known = told.engine <= static_cast<std::uint32_t>(link::Engine::kIpsecMb);
  end->engine = known ? to_string(static_cast<link::Engine>(told.engine)) : "unknown";
  end->cores = told.cores;
  end->seal_64_ns = told.seal_64_ns;
  end->seal_16k_ns = told.seal_16k_ns;
  return ok();
}

void put_echo(wire::Writer& out, std::size_t bytes) {
  static constexpr std::array<std::byte, limits::kProbeEchoBytesMax> kText{};
  out.put(static_cast<std::uint32_t>(bytes));
  out.bytes(kText.data(), bytes);
}

Status Probe::echo(std::size_t bytes) {
  wire::Reader in({});
  const auto encode = [bytes](wire::Writer& out) { put_echo(out, bytes); };
  FARCALL_TRY(
      answer(session_.post(head_of(row::probe_echo::info().id), link::Flush::kNow, encode), &in));
  return in.rest().size() == bytes ? ok()
                                   : Status(Code::kUnsupported, "the echo is not what was sent");
}

Status Probe::round_trips(std::vector<double>* each_us) {
  constexpr int kWarmUp = 20;
  for (int i = 0; i < kWarmUp; ++i) FARCALL_TRY(echo(kEchoBytes));
  const auto begin = Clock::now();
  while (each_us->size() < kRoundTripsMax && since(begin) < kEachSeconds) {
    const auto asked = Clock::now();
    FARCALL_TRY(echo(kEchoBytes));
    each_us->push_back(since(asked) * 1e6);
  }
  return ok();
}

Status Probe::queued(double* us) {
  const auto encode = [](wire::Writer& out) { put_echo(out, kQueuedBytes); };
  std::size_t sent = 0;
  const auto begin = Clock::now();
  while (sent < kQueuedCalls && since(begin) < kEachSeconds) {
    // Time is looked at now and then: looking costs as much as a tenth of a call.
    for (int i = 0; i < 100; ++i, ++sent) {
      FARCALL_TRY(session_.post(head_of(row::probe_echo::info().id, 0), link::Flush::kLater, encode)
                      .status());
    }
  }
  FARCALL_TRY(echo(0));  // all of them were carried out when this is answered
  *us = since(begin) * 1e6 / static_cast<double>(sent);
  return ok();
}

Status Probe::copy(bool to_server, std::span<std::byte> payload, double* seconds) {
  const auto bytes = static_cast<std::uint64_t>(payload.size());
  const auto encode = [bytes](wire::Writer& out) { out.put(bytes); };
  wire::Reader in({});
  const auto begin = Clock::now();
  if (to_server) {
    FARCALL_TRY(
        answer(session_.post_bulk(head_of(row::probe_sink::info().id), encode, payload), &in));
  } else {
    FARCALL_TRY(answer(
        session_.post(head_of(row::probe_source::info().id), link::Flush::kNow, encode), &in));
    if (in.get<std::uint64_t>() != bytes || !in.done()) {
      return {Code::kUnsupported, "the server sends another payload than was asked for"};
    }
    FARCALL_TRY(session_.bulk_read(payload));
  }
  *seconds = since(begin);
  return ok();
}

// Payloads grow until one takes its share of the time: on a far link a small one measures the
// distance.
Status Probe::bandwidth(bool to_server, double* gb_s) {
  constexpr int kCopies = 3;
  std::vector<std::byte> room(kFirstPayload);  // nobody's bytes
  link::fill_incompressible(room);
  double seconds = 0;
  FARCALL_TRY(copy(to_server, room, &seconds));
  for (;;) {
    FARCALL_TRY(copy(to_server, room, &seconds));
    const double now = static_cast<double>(room.size());
    const double fits = now * kEachSeconds / kCopies / seconds;
    const double next = std::min({fits, now * kPayloadGrowth, double{kPayloadMax}});
    if (next < now * 2) break;
    room.assign(static_cast<std::size_t>(next), {});
    link::fill_incompressible(room);
  }
  std::vector<double> each;
  for (int i = 0; i < kCopies; ++i) {
    FARCALL_TRY(copy(to_server, room, &seconds));
    each.push_back(static_cast<double>(room.size()) / seconds / 1e9);
  }
  *gb_s = median_of(each);
  return ok();
}

}  // namespace

RoundTrip round_trip_of(std::vector<double> each_us) {
  RoundTrip figures;
  if (each_us.empty()) return figures;
  figures.count = each_us.size();
  for (std::size_t i = 1; i < each_us.size(); ++i) {
    figures.jitter_us += std::fabs(each_us[i] - each_us[i - 1]);
  }
  if (each_us.size() > 1) figures.jitter_us /= static_cast<double>(each_us.size() - 1);
  std::sort(each_us.begin(), each_us.end());
  figures.lowest_us = each_us.front();
  figures.median_us = each_us[each_us.size() / 2];
  figures.p99_us = each_us[each_us.size() * 99 / 100];
  return figures;
}

Result<LinkFigures> measure_link(link::Session& session) {
  LinkFigures figures;
  figures.link = session.describe();
  const link::EngineCost here = link::measure_engine(link::chosen_engine());
  figures.client = {std::string(to_string(here.engine)), std::thread::hardware_concurrency(),
                    here.small_ns, here.bulk_ns};
  Probe probe(session);
  std::vector<double> each_us;
  const auto all = [&]() -> Status {
    FARCALL_TRY(probe.facts(&figures.server));
    FARCALL_TRY(probe.round_trips(&each_us));
    FARCALL_TRY(probe.queued(&figures.queued_us));
    FARCALL_TRY(probe.bandwidth(true, &figures.to_server_gb_s));
    return probe.bandwidth(false, &figures.to_client_gb_s);
  };
  if (Status done = all(); !done.ok()) return done;
  figures.round_trip = round_trip_of(std::move(each_us));
  figures.stats = session.stats();
  return figures;
}

}  // namespace farcall::cli
