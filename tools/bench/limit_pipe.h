// The two pipes of bench_limit, as bare as they come: a TCP connection and a ring in a memfd.
//
//   Ends ends = make_tcp();
//   std::span<std::byte> slot = ends.near->reserve(bytes);  …  ends.near->commit(slot);
//   std::span<const std::byte> record = ends.far->take(bytes);  …  ends.far->release();
//
// The receiver knows how long the next record is. Everything spins; nothing is checked that a
// program with a peer it knows would not check. Not for use outside this benchmark.
// Threads: each end one.
#pragma once
#include <cstddef>
#include <memory>
#include <span>

namespace farcall::bench {

inline constexpr std::size_t kHeader = 16;

[[noreturn]] void die(const char* doing);

class Pipe {
 public:
  virtual ~Pipe() = default;
  virtual std::span<std::byte> reserve(std::size_t bytes) = 0;
  virtual void commit(std::span<std::byte> record) = 0;
  virtual std::span<const std::byte> take(std::size_t bytes) = 0;
  virtual void release() = 0;
};

struct Ends {
  std::unique_ptr<Pipe> near, far;
};
Ends make_tcp();
Ends make_ring();

}  // namespace farcall::bench
