// Window: what one RDMA connection has sent, got and released, and what its peer may say of that.
//
//   MessageHeader message;
//   if (const char* wrong = window.hear(header, bytes, &message)) …the link is over…
//   if (const char* wrong = window.keep(message.number, data, bytes)) …
//   while (window.first().data != nullptr) { …use it…  window.release(); }
//
// Records are numbered from 0; kRdmaWindowRecords may be on the way or unread. They are put in
// order here, whatever the order of their coming. Every number is the peer's, and checked.
// Knows nothing of UCX.  Threads: external lock.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "transport/base/limits.h"

namespace farcall::ucx {

// Stands before every message, little endian.
struct MessageHeader {
  std::uint64_t number = 0;    // of this record; when closing: of the record that will not come
  std::uint64_t released = 0;  // records of the other direction the sender has done with
};

struct Arrived {
  void* data = nullptr;  // UCX's own buffer, held until release
  std::size_t bytes = 0;
};

class Window {
 public:
  static constexpr std::size_t kRecords = limits::kRdmaWindowRecords;

  // --- what the peer says: null, or what is wrong with it, and then nothing has changed
  const char* hear(const void* header, std::size_t bytes, MessageHeader* out);
  const char* keep(std::uint64_t number, void* data, std::size_t bytes);
  const char* end_at(std::uint64_t number);  // that record will not come

  // --- receiving
  const Arrived& first() const { return arrived_[next_ % kRecords]; }  // data null: not here yet
  void release() {
    arrived_[next_ % kRecords] = {};
    ++next_;
  }
  std::uint64_t released() const { return next_; }
  bool ending() const { return end_ != kNever; }
  bool ended() const { return end_ == next_; }
  const std::array<Arrived, kRecords>& held() const { return arrived_; }

  // --- sending
  bool has_room() const { return sent_ - released_by_peer_ < kRecords; }
  std::uint64_t next_number() { return sent_++; }
  std::uint64_t sent() const { return sent_; }

 private:
  static constexpr std::uint64_t kNever = UINT64_MAX;
  std::uint64_t sent_ = 0;
  std::uint64_t released_by_peer_ = 0;
  std::array<Arrived, kRecords> arrived_{};  // record n at n % kRecords
  std::uint64_t next_ = 0;                   // of those that came, the first not released
  std::uint64_t end_ = kNever;
};

}  // namespace farcall::ucx
