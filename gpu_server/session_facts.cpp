#include "gpu_server/session_facts.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

namespace farcall::server {

Result<std::unique_ptr<SessionFacts>> SessionFacts::open() {
  auto page = FactsPage::create();
  if (!page.ok()) return page.status();
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return Status::system("make a pipe for facts");
  return std::unique_ptr<SessionFacts>(
      new SessionFacts(std::move(page).value(), Fd(ends[0]), Fd(ends[1])));
}

void SessionFacts::earn(std::int64_t now_ms) {
  if (earned_ms_ == 0) earned_ms_ = now_ms;
  const std::int64_t more = (now_ms - earned_ms_) / limits::kFactEveryMs;
  earned_ms_ += more * limits::kFactEveryMs;
  may_take_ = static_cast<int>(std::min<std::int64_t>(may_take_ + more, limits::kFactsAtOnce));
}

int SessionFacts::fd(std::int64_t now_ms) {
  earn(now_ms);
  return may_take_ > 0 ? ours_.get() : -1;
}

Status SessionFacts::read(int records, Each each) {
  std::array<std::byte, 16 * limits::kFactBytes> room;
  while (ours_ && records > 0) {
    const auto wanted =
        std::min(room.size(), static_cast<std::size_t>(records) * limits::kFactBytes);
    const ssize_t got = ::read(ours_.get(), room.data(), wanted);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return ok();
    if (got <= 0) {
      ours_.reset();
      return ok();
    }
    // Bytes that make no record count as one, so that they are not for nothing.
    const auto bytes = static_cast<std::size_t>(got);
    const int taken = static_cast<int>((bytes + limits::kFactBytes - 1) / limits::kFactBytes);
    records -= taken;
    may_take_ -= std::min(taken, may_take_);
    const Status sound = stream_.take(std::span(room).first(bytes), each);
    if (sound.ok()) continue;
    ours_.reset();
    return sound;
  }
  return ok();
}

Status SessionFacts::take(std::int64_t now_ms, Each each) {
  earn(now_ms);
  return read(may_take_, each);
}

void SessionFacts::take_rest(Each each) {
  theirs_.reset();
  static_cast<void>(read(may_take_, each));
  int left = 0;
  if (ours_ && ::ioctl(ours_.get(), FIONREAD, &left) == 0 && left > 0) {
    unread_ += static_cast<std::uint64_t>(left) / limits::kFactBytes;
  }
  ours_.reset();
}

const Tallies& SessionFacts::tallies() {
  const Tallies now = page_->read();
  for (std::size_t i = 0; i < kTallies; ++i) {
    highest_.values[i] = std::max(highest_.values[i], now.values[i]);
  }
  constexpr auto kHeld = static_cast<std::size_t>(Tally::kMemoryHeld);
  highest_.values[kHeld] = now.values[kHeld];
  return highest_;
}

std::uint64_t SessionFacts::lost() { return tallies()[Tally::kModulesLost] + unread_; }

}  // namespace farcall::server
