// The memory of one shared-memory lane: two rings in a sealed memfd, mapped for use.
//
//   worker:  Result<ShmMemory> memory = ShmMemory::make(bytes);  memory.value().send(socket)
//   client:  Result<ShmMemory> memory = ShmMemory::receive(socket, bytes, deadline);
//
// The worker makes it, so that no descriptor of a client ever enters the server. The client checks
// what it gets: anonymous memory of the kernel's, of exactly this size, sealed against shrinking
// and growing; else a peer could make a touch of it a bus error.
// Not there in the child of a fork, and in no core dump.  Owner: a carrier.  Threads: one.
#pragma once
#include <cstddef>

#include "transport/base/clock.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"
#include "transport/link/shm_ring.h"

namespace farcall::link {

class ShmMemory {
 public:
  // ring_bytes: of one direction; a multiple of 64 KiB.
  static Result<ShmMemory> make(std::size_t ring_bytes);
  // Passes the memory on as the first message of a lane's socket, and keeps no descriptor of it.
  Status send(int socket);
  // Errors: kMalformed (not such memory), kTimeout, kClosed, kSystem.
  static Result<ShmMemory> receive(int socket, std::size_t ring_bytes, Deadline deadline);
  // What receive() does with the descriptor that came.
  static Result<ShmMemory> adopt(Fd memory, std::size_t ring_bytes);

  ShmMemory(ShmMemory&& other) noexcept;
  ShmMemory& operator=(ShmMemory&&) = delete;
  ~ShmMemory();

  // For the child of a fork, where the addresses may be somebody else's by now.
  void abandon() { base_ = nullptr; }

  std::size_t ring_bytes() const { return ring_bytes_; }
  // direction: 0 to the server, 1 to the client
  RingControl& control(int direction) const;
  std::byte* bytes(int direction) const;  // mapped twice in a row

 private:
  ShmMemory(Fd memory, std::byte* base, std::size_t ring_bytes);
  static Result<ShmMemory> map(Fd memory, std::size_t ring_bytes);
  Fd memory_;
  std::byte* base_ = nullptr;
  std::size_t ring_bytes_ = 0;
};

}  // namespace farcall::link
