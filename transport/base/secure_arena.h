// SecureBuffer: memory for keys and tenant bytes. Locked where the system allows, kept out of core
// dumps and out of forked children, wiped before it is given back.
//
//   Result<SecureBuffer> staging = SecureBuffer::make(limits::kStagingBytes);
//   std::span<std::byte> room = staging.value().bytes();
//
// Owner: whoever holds the object; move-only.  Threads: external lock.
// Never grows: growing would leave a copy behind. Never backs std::vector or std::string.
#pragma once
#include <cstddef>
#include <span>

#include "transport/base/status.h"

namespace farcall {

// Overwrites memory in a way the compiler may not drop.
void wipe(std::span<std::byte> bytes);
void wipe(void* at, std::size_t bytes);

class SecureBuffer {
 public:
  // bytes: 1 … any; rounded up to whole pages.  Errors: kSystem when memory is not to be had. A
  // refused mlock (RLIMIT_MEMLOCK) is not an error: locked() tells.
  static Result<SecureBuffer> make(std::size_t bytes);

  SecureBuffer() = default;
  SecureBuffer(SecureBuffer&& other) noexcept;
  SecureBuffer& operator=(SecureBuffer&& other) noexcept;
  ~SecureBuffer();

  std::span<std::byte> bytes() const { return {at_, bytes_}; }
  std::byte* data() const { return at_; }
  std::size_t size() const { return bytes_; }
  bool locked() const { return locked_; }

 private:
  void release();
  std::byte* at_ = nullptr;
  std::size_t bytes_ = 0;   // as asked for
  std::size_t mapped_ = 0;  // whole pages
  bool locked_ = false;
};

}  // namespace farcall
