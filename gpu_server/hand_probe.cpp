// The probe: what `farcall netperf` asks to learn what the link costs. No call of it reaches the
// driver. Bodies: transport/api/hand.h.
#include <algorithm>
#include <cstring>
#include <thread>
#include <vector>

#include "gpu_server/rows.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/base/limits.h"
#include "transport/link/compress.h"
#include "transport/link/engine.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;

Verdict facts(Call& call) {
  if (!call.in.done()) return Verdict::kMalformed;
  // Measured once: a client cannot make this host measure for ever.
  static const hand::ProbeFacts kFacts = [] {
    const link::EngineCost cost = link::measure_engine(link::chosen_engine());
    return hand::ProbeFacts{.engine = static_cast<std::uint32_t>(cost.engine),
                            .cores = std::thread::hardware_concurrency(),
                            .seal_64_ns = cost.small_ns,
                            .seal_16k_ns = cost.bulk_ns};
  }();
  call.status(CUDA_SUCCESS);
  call.out.put(kFacts);
  return Verdict::kAnswered;
}

Verdict echo(Call& call) {
  const auto bytes = call.in.get<std::uint32_t>();
  if (bytes > limits::kProbeEchoBytesMax) return Verdict::kMalformed;
  const std::span<const std::byte> text = call.in.bytes(bytes);
  if (!call.in.done()) return Verdict::kMalformed;
  call.status(CUDA_SUCCESS);
  call.out.bytes(text.data(), text.size());
  return Verdict::kAnswered;
}

Verdict sink(Call& call) {
  const auto bytes = call.in.get<std::uint64_t>();
  if (!call.in.done() || bytes > limits::kProbePayloadBytesMax) return Verdict::kMalformed;
  // The answer says that all of it was opened. A broken link shows at the next receive.
  const Status dropped = call.bulk.drop(call.staging);
  return call.status(dropped.ok() ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN);
}

Verdict source(Call& call) {
  const auto bytes = call.in.get<std::uint64_t>();
  if (!call.in.done() || bytes > limits::kProbePayloadBytesMax) return Verdict::kMalformed;
  if ((call.head.flags & wire::kWantsReply) == 0) return Verdict::kMalformed;
  const auto encode = [bytes](wire::Writer& out) {
    out.put(static_cast<std::uint32_t>(CUDA_SUCCESS));
    out.put(bytes);
  };
  // A link that compresses must not look faster than it is.
  static const std::vector<std::byte> noise = [] {
    std::vector<std::byte> all(limits::kRecordBytesMax);
    link::fill_incompressible(all);
    return all;
  }();
  const auto fill = [](std::span<std::byte> room) {
    if (room.size() > noise.size()) return Status(Code::kOverQuota, "more than a record");
    std::memcpy(room.data(), noise.data(), room.size());
    return ok();
  };
  call.before_answer(bytes);
  (void)call.link.post_bulk_from(call.reply_head(), encode, bytes, fill);
  return Verdict::kSent;
}

}  // namespace

std::span<const HandRow> hand_probe_rows() {
  static const HandRow rows[] = {
      {row::probe_facts::info(), facts},
      {row::probe_echo::info(), echo},
      {row::probe_sink::info(), sink, true},
      {row::probe_source::info(), source},
  };
  return rows;
}

}  // namespace farcall::server
