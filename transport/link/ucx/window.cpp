#include "transport/link/ucx/window.h"

#include <cstring>

#include "transport/link/record.h"

namespace farcall::ucx {

const char* Window::hear(const void* header, std::size_t bytes, MessageHeader* out) {
  if (bytes != sizeof *out) return "an RDMA message without a proper header";
  std::memcpy(out, header, sizeof *out);
  if (out->released > sent_) return "the peer has done with records that were not sent";
  if (out->released > released_by_peer_) released_by_peer_ = out->released;
  return nullptr;
}

const char* Window::keep(std::uint64_t number, void* data, std::size_t bytes) {
  if (bytes == 0 || bytes > link::kSealedBytesMax) return "a record of impossible length";
  // A number below next_ wraps to a huge distance.
  if (number - next_ >= kRecords || number >= end_) return "a record outside the window";
  Arrived& place = arrived_[number % kRecords];
  if (place.data != nullptr) return "a record that came twice";
  place = {data, bytes};
  return nullptr;
}

const char* Window::end_at(std::uint64_t number) {
  if (number - next_ > kRecords) return "an end outside the window";
  for (std::size_t i = number - next_; i < kRecords; ++i) {
    if (arrived_[(next_ + i) % kRecords].data != nullptr) return "an end before a record";
  }
  if (ending() && number != end_) return "a second end";
  end_ = number;
  return nullptr;
}

}  // namespace farcall::ucx
