#include "client_shim/page_states.h"

#include <algorithm>

namespace farcall::shim {
namespace {

constexpr std::size_t kBlock = kMirrorBlockBytes;

std::size_t blocks_for(std::size_t bytes) { return (bytes + kBlock - 1) / kBlock; }

}  // namespace

PageStates::PageStates(std::size_t bytes, PageState all)
    : bytes_(bytes),
      blocks_(blocks_for(bytes), all),
      held_(all == PageState::kDevice ? 0 : blocks_.size()) {}

PageStates::Run PageStates::run_of(std::size_t first, std::size_t end) const {
  const std::size_t at = first * kBlock;
  return {at, std::min(end * kBlock, bytes_) - at, false};
}

void PageStates::set(std::size_t block, PageState state) {
  held_ -= blocks_[block] != PageState::kDevice ? 1 : 0;
  held_ += state != PageState::kDevice ? 1 : 0;
  blocks_[block] = state;
}

PageStates::Need PageStates::touch(std::size_t offset, bool is_write) {
  const std::size_t first = offset / kBlock;
  const PageState state = blocks_[first];
  const bool is_missing = state == PageState::kDevice;
  if (!is_missing && (state != PageState::kBoth || !is_write)) return {};
  Ahead& ahead = is_write ? writes_ : reads_;
  ahead.blocks = first == ahead.next ? std::min(2 * ahead.blocks, kMirrorAheadMax) : 1;
  std::size_t end = first + 1;
  while (end < blocks_.size() && end - first < ahead.blocks && blocks_[end] == state) ++end;
  ahead.next = end;
  return {run_of(first, end), is_missing, is_write};
}

void PageStates::opened(const Need& need) {
  const std::size_t end = blocks_for(need.run.at + need.run.bytes);
  for (std::size_t block = need.run.at / kBlock; block < end; ++block) {
    set(block, need.is_write ? PageState::kHost : PageState::kBoth);
  }
}

template <class Suits>
std::vector<PageStates::Run> PageStates::runs(std::size_t at, std::size_t bytes,
                                              Suits suits) const {
  std::vector<Run> found;
  const std::size_t end = std::min(blocks_for(at + bytes), blocks_.size());
  for (std::size_t block = at / kBlock; block < end; ++block) {
    if (!suits(blocks_[block])) continue;
    Run run = run_of(block, block + 1);
    run.is_fresh = blocks_[block] == PageState::kFresh;
    const bool goes_on = !found.empty() && found.back().at + found.back().bytes == run.at &&
                         found.back().is_fresh == run.is_fresh;
    if (goes_on) {
      found.back().bytes += run.bytes;
    } else {
      found.push_back(run);
    }
  }
  return found;
}

std::vector<PageStates::Run> PageStates::dirty(std::size_t at, std::size_t bytes) const {
  return runs(at, bytes, [](PageState state) {
    return state == PageState::kFresh || state == PageState::kHost;
  });
}

std::vector<PageStates::Run> PageStates::missing(std::size_t at, std::size_t bytes) const {
  return runs(at, bytes, [](PageState state) { return state == PageState::kDevice; });
}

void PageStates::lent(std::size_t at, std::size_t bytes) {
  const std::size_t end = std::min(blocks_for(at + bytes), blocks_.size());
  for (std::size_t block = at / kBlock; block < end; ++block) set(block, PageState::kDevice);
}

void PageStates::shared(std::size_t at, std::size_t bytes) {
  const std::size_t end = std::min(blocks_for(at + bytes), blocks_.size());
  for (std::size_t block = at / kBlock; block < end; ++block) {
    if (blocks_[block] != PageState::kDevice) set(block, PageState::kBoth);
  }
}

std::vector<PageStates::Run> PageStates::expire() {
  auto expired = runs(0, bytes_, [](PageState state) { return state == PageState::kBoth; });
  for (const Run& run : expired) lent(run.at, run.bytes);
  return expired;
}

}  // namespace farcall::shim
