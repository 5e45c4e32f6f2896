#include "transport/base/secure_arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <utility>

namespace farcall {

void wipe(void* at, std::size_t bytes) {
  if (bytes == 0) return;
  std::memset(at, 0, bytes);
  asm volatile("" : : "r"(at) : "memory");
}

void wipe(std::span<std::byte> bytes) { wipe(bytes.data(), bytes.size()); }

Result<SecureBuffer> SecureBuffer::make(std::size_t bytes) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t mapped = (bytes + page - 1) / page * page;
  void* at = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return Status::system("reserve " + std::to_string(bytes) + " bytes");
  ::madvise(at, mapped, MADV_DONTDUMP);
  ::madvise(at, mapped, MADV_WIPEONFORK);
  SecureBuffer buffer;
  buffer.at_ = static_cast<std::byte*>(at);
  buffer.bytes_ = bytes;
  buffer.mapped_ = mapped;
  // Each page is locked from the moment it holds something; a page nobody wrote costs nothing.
  buffer.locked_ = ::mlock2(at, mapped, MLOCK_ONFAULT) == 0;
  return buffer;
}

SecureBuffer::SecureBuffer(SecureBuffer&& other) noexcept { *this = std::move(other); }

SecureBuffer& SecureBuffer::operator=(SecureBuffer&& other) noexcept {
  if (this == &other) return *this;
  release();
  at_ = std::exchange(other.at_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  mapped_ = std::exchange(other.mapped_, 0);
  locked_ = std::exchange(other.locked_, false);
  return *this;
}

SecureBuffer::~SecureBuffer() { release(); }

void SecureBuffer::release() {
  if (at_ == nullptr) return;
  wipe(at_, mapped_);
  ::munmap(at_, mapped_);
  at_ = nullptr;
}

}  // namespace farcall
