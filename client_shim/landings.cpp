#include "client_shim/landings.h"

#include <algorithm>
#include <cstring>

#include "transport/api/hand.h"
#include "transport/base/limits.h"
#include "transport/base/log.h"
#include "transport/wire/reader.h"

namespace farcall::shim {
namespace {

constexpr std::size_t kGranulesMax = limits::kLateBytesMax / limits::kLateGranuleBytes;

std::size_t granules(std::size_t bytes) {
  return (bytes + limits::kLateGranuleBytes - 1) / limits::kLateGranuleBytes;
}

}  // namespace

std::uint64_t Landings::expect(void* to, std::size_t bytes) {
  auto state = state_.lock();
  if (state->over || state->granules + granules(bytes) > kGranulesMax) return 0;
  state->granules += granules(bytes);
  state->expected[++state->last] = {static_cast<std::byte*>(to), bytes};
  under_way_.fetch_add(1, std::memory_order_seq_cst);
  return state->last;
}

void Landings::forget(State& state, std::uint64_t landing) {
  auto found = state.expected.find(landing);
  if (found == state.expected.end()) return;
  state.granules -= granules(found->second.bytes);
  state.expected.erase(found);
  under_way_.fetch_sub(1, std::memory_order_release);
  changed_.notify_all();
}

void Landings::cancel(std::uint64_t landing) { forget(*state_.lock(), landing); }

Status Landings::land(const link::Frame& frame, link::Session& session) {
  wire::Reader in(frame.body);
  auto status = in.get<std::uint32_t>();
  auto bytes = in.get<std::uint64_t>();
  auto [number] = in.get<api::hand::CopyLanded>();
  Landing landing;
  {
    auto state = state_.lock();
    auto found = state->expected.find(number);
    if (found != state->expected.end()) landing = found->second;
  }
  bool on_bulk_lane = (frame.head.flags & wire::kBulkFollows) != 0;
  std::size_t wanted = status == CUDA_SUCCESS ? landing.bytes : 0;
  auto here = in.bytes(on_bulk_lane ? 0 : wanted);
  if (landing.to == nullptr || bytes != wanted || (on_bulk_lane && wanted == 0) || !in.done()) {
    return {Code::kMalformed, "a copy has landed that is not what was asked for"};
  }
  if (!here.empty()) std::memcpy(landing.to, here.data(), here.size());
  if (on_bulk_lane) {
    Status read = session.bulk_read({landing.to, landing.bytes});
    // Called off: the server could not go on. What it told the thread that asked says why.
    if (!read.ok() && read.code() != Code::kDriver) return read;
  }
  if (status != CUDA_SUCCESS) FARCALL_LOG_DEBUG("a copy did not land: CUDA error %u", status);
  forget(*state_.lock(), number);
  return ok();
}

void Landings::fail_all() {
  auto state = state_.lock();
  state->over = true;
  state->expected.clear();
  state->granules = 0;
  under_way_.store(0, std::memory_order_release);
  changed_.notify_all();
}

void Landings::wait_clear(const void* from, std::size_t bytes) {
  if (!any()) return;
  const auto* begin = static_cast<const std::byte*>(from);
  auto state = state_.lock();
  state.wait(changed_, [&](const State& now) {
    return std::none_of(now.expected.begin(), now.expected.end(), [&](const auto& each) {
      return each.second.to < begin + bytes && begin < each.second.to + each.second.bytes;
    });
  });
}

}  // namespace farcall::shim
