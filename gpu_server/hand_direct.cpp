// Copies from server to server: what a client asks of its sessions at both ends. Bodies:
// transport/api/hand_direct.h.
#include <algorithm>

#include "gpu_server/direct_hold.h"
#include "gpu_server/direct_links.h"
#include "gpu_server/rows.h"
#include "transport/api/hand_direct.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;

// What the driver copies where the rest is reached in place: that waits for the default stream's
// turn, and tells what is wrong.
constexpr std::size_t kProbeBytes = 64;

Verdict answer(Call& call, Outcome outcome) {
  call.status(CUDA_SUCCESS);
  call.out.put(outcome);
  return Verdict::kAnswered;
}

Verdict facts(Call& call) {
  if (!call.in.done()) return Verdict::kMalformed;
  if (call.direct == nullptr) return answer(call, Outcome::kNotHere);
  const DirectLinks::Settings& own = call.direct->settings();
  answer(call, Outcome::kDone);
  call.out.put(hand::DirectFacts{own.session.bytes, hand::name_of(own.name)});
  return Verdict::kAnswered;
}

// All of it in one allocation of this session: nobody else's memory is in this process.
bool is_own(const Driver& driver, std::uint64_t address, std::uint64_t bytes) {
  if (bytes == 0 || driver.cuMemGetAddressRange_v2 == nullptr) return false;
  CUdeviceptr base = 0;
  std::size_t length = 0;
  if (driver.cuMemGetAddressRange_v2(&base, &length, address) != CUDA_SUCCESS) return false;
  const std::uint64_t before = address - base;
  return before <= length && bytes <= length - before;
}

Verdict expect(Call& call) {
  const auto wanted = call.in.get<hand::DirectExpect>();
  const std::string sender(hand::text_of(wanted.sender));
  if (!call.in.done() || sender.empty()) return Verdict::kMalformed;
  if (call.direct == nullptr || !call.direct->is_peer(sender)) {
    return answer(call, Outcome::kNotHere);
  }
  if (!is_own(call.driver, wanted.dst, wanted.bytes)) return answer(call, Outcome::kBadRange);
  Result<Ticket> ticket =
      call.direct->tickets().expect({call.thread.context_id, wanted.dst, wanted.bytes, sender});
  if (!ticket.ok()) return answer(call, Outcome::kNotNow);
  answer(call, Outcome::kDone);
  call.out.put(ticket.value());
  return Verdict::kAnswered;
}

Verdict push(Call& call) {
  const auto wanted = call.in.get<hand::DirectPush>();
  DirectLinks::Parcel parcel;
  parcel.receiver = hand::text_of(wanted.receiver);
  parcel.session.bytes = wanted.session;
  parcel.ticket = wanted.ticket;
  parcel.bytes = wanted.bytes;
  if (!call.in.done() || parcel.receiver.empty()) return Verdict::kMalformed;
  const Driver& driver = call.driver;
  if (call.direct == nullptr || driver.cuMemcpyDtoH_v2 == nullptr) {
    return answer(call, Outcome::kNotHere);
  }
  if (!is_own(driver, wanted.src, wanted.bytes)) return answer(call, Outcome::kBadRange);
  DirectHold memory(driver, wanted.src, static_cast<std::size_t>(wanted.bytes));
  // Before the ticket is shown, which does not wait long.
  CUresult turn = driver.cuMemcpyDtoH_v2(
      call.staging.data(), wanted.src,
      static_cast<std::size_t>(std::min<std::uint64_t>(wanted.bytes, kProbeBytes)));
  if (turn != CUDA_SUCCESS) return answer(call, Outcome::kFailed);
  std::uint64_t at = wanted.src;
  auto fill = [&](std::span<std::byte> room) -> Status {
    CUresult copied = driver.cuMemcpyDtoH_v2(room.data(), at, room.size());
    if (copied != CUDA_SUCCESS) return Status::driver("copy from the device", copied);
    at += room.size();
    return ok();
  };
  return answer(call, call.direct->push(parcel, memory.bytes(), fill));
}

Verdict settle(Call& call) {
  const auto wanted = call.in.get<hand::DirectSettle>();
  if (!call.in.done() || wanted.abandons > 1) return Verdict::kMalformed;
  if (call.direct == nullptr) return answer(call, Outcome::kNotUsed);
  if (wanted.abandons == 1) call.direct->abandon(wanted.ticket);
  return answer(call, call.direct->tickets().settle(wanted.ticket));
}

}  // namespace

std::span<const HandRow> hand_direct_rows() {
  static const HandRow rows[] = {
      {hand::kDirectFacts, facts},
      {hand::kDirectExpect, expect},
      {hand::kDirectPush, push},
      {hand::kDirectSettle, settle},
  };
  return rows;
}

}  // namespace farcall::server
