// The shared-memory lane: its ring against a peer that writes what it likes, its memory against a
// server that passes what it likes, and its sleeping and waking.
#include "transport/link/shm.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "tests/support/watched_thread.h"
#include "transport/base/limits.h"
#include "transport/link/keys.h"
#include "transport/link/record.h"
#include "transport/link/shm_memory.h"
#include "transport/link/shm_ring.h"

using namespace farcall;
using namespace farcall::link;

namespace {

constexpr std::size_t kRing = 64 * 1024;

Deadline soon() { return Deadline::after(system_clock(), 20'000); }

// A ring in plain memory, as both sides see it.
struct Ring {
  Ring()
      : bytes(2 * kRing),
        writer(control, bytes.data(), kRing),
        reader(control, bytes.data(), kRing) {}
  // Writes a record's header where the next one starts; the mapping's second half is only memory
  // here, so records must not reach past the end of the first.
  Status put(std::uint32_t length) {
    const std::size_t all = limits::kRecordHeaderBytes + length;
    Result<std::span<std::byte>> slot = writer.reserve(all);
    if (!slot.ok()) return slot.status();
    if (slot.value().empty()) return {Code::kBusy, "full"};
    std::memcpy(slot.value().data(), &length, sizeof(length));
    writer.publish(all);
    return ok();
  }
  RingControl control{};
  std::vector<std::byte> bytes;
  RingWriter writer;
  RingReader reader;
};

struct Pair {
  Fd near, far;
};
Pair socket_pair() {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

struct Lanes {
  std::unique_ptr<Carrier> server, client;
};
Lanes joined(int watch_fd = -1) {
  Pair sockets = socket_pair();
  auto offered = offer_shm(std::move(sockets.far), kLaneCalls);
  REQUIRE_MESSAGE(offered.ok(), offered.status().to_string());
  auto taken = join_shm(std::move(sockets.near), kLaneCalls, watch_fd, soon());
  REQUIRE_MESSAGE(taken.ok(), taken.status().to_string());
  return {std::move(offered).value(), std::move(taken).value()};
}

Status send(Carrier& carrier, std::uint32_t length) {
  std::span<std::byte> slot = carrier.tx_reserve(limits::kRecordHeaderBytes + length);
  std::memcpy(slot.data(), &length, sizeof(length));
  return carrier.tx_commit(slot.size());
}

std::size_t peeked(Carrier& carrier) {
  Result<std::span<const std::byte>> record = carrier.rx_peek();
  return record.ok() ? record.value().size() : 0;
}

// A memfd as a server might pass it.
Fd memory(std::size_t bytes, int seals, unsigned flags = 0) {
  Fd made(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags));
  if (!made) return made;
  REQUIRE(::ftruncate(made.get(), static_cast<off_t>(bytes)) == 0);
  if (seals != 0) REQUIRE(::fcntl(made.get(), F_ADD_SEALS, seals) == 0);
  return made;
}

constexpr std::size_t kWholeFile = 64 * 1024 + 2 * kRing;

}  // namespace

TEST_CASE("a ring gives back records in order, and its room with them") {
  Ring ring;
  CHECK(ring.reader.peek().value().empty());
  for (std::uint32_t round = 0; round < 1000; ++round) {
    REQUIRE(ring.put(64 - 16).ok());
    REQUIRE(ring.put(100).ok());
    CHECK(ring.reader.peek().value().size() == 64);
    CHECK(ring.reader.has_more_than_peeked());
    ring.reader.release();
    CHECK(ring.reader.peek().value().size() == 116);
    CHECK_FALSE(ring.reader.has_more_than_peeked());
    ring.reader.release();
  }
}

TEST_CASE("a full ring takes no record more until one is released") {
  Ring ring;
  while (ring.put(4096 - 16).ok()) {
  }
  CHECK(ring.writer.reserve(4096).value().empty());
  CHECK(ring.reader.peek().value().size() == 4096);
  ring.reader.release();
  CHECK_FALSE(ring.writer.reserve(4096).value().empty());
  CHECK(ring.writer.reserve(4097).value().empty());
  CHECK(ring.writer.reserve(kRing + 1).status().code() == Code::kOverQuota);
}

TEST_CASE("who announced sleep is to be woken, once") {
  Ring ring;
  REQUIRE_FALSE(ring.writer.reserve(64).value().empty());
  CHECK_FALSE(ring.writer.publish(64));
  ring.reader.will_sleep();
  REQUIRE_FALSE(ring.writer.reserve(64).value().empty());
  CHECK(ring.writer.publish(64));
  CHECK_FALSE(ring.writer.publish(64));
  ring.writer.will_sleep();
  const std::uint32_t length = 48;
  std::memcpy(ring.bytes.data(), &length, sizeof(length));
  REQUIRE(ring.reader.peek().value().size() == 64);
  CHECK(ring.reader.release());
  std::memcpy(ring.bytes.data() + 64, &length, sizeof(length));
  REQUIRE(ring.reader.peek().value().size() == 64);
  CHECK_FALSE(ring.reader.release());
}

TEST_CASE("a reader's position that jumps ends the writer's side") {
  for (std::uint64_t jump : {std::uint64_t{4096}, std::uint64_t{0} - 64, std::uint64_t{1} << 63}) {
    Ring ring;
    REQUIRE(ring.put(1000).ok());
    REQUIRE(ring.put(1000).ok());
    ring.control.taken = jump;  // behind what was written there is nothing to take
    CHECK(ring.writer.reserve(kRing).status().code() == Code::kMalformed);
  }
  Ring ring;  // and it does not go back
  REQUIRE(ring.put(1000).ok());
  ring.control.taken = 1024;
  REQUIRE(ring.writer.reserve(kRing).ok());
  ring.control.taken = 0;
  REQUIRE(ring.put(1000).ok());
  CHECK(ring.writer.reserve(kRing).status().code() == Code::kMalformed);
}

TEST_CASE("a writer's position that jumps ends the reader's side") {
  for (std::uint64_t jump : {std::uint64_t{kRing + 64}, std::uint64_t{0} - 64, std::uint64_t{65}}) {
    Ring ring;
    REQUIRE(ring.put(48).ok());
    ring.control.written = jump;
    CHECK(ring.reader.peek().status().code() == Code::kMalformed);
  }
  Ring ring;
  REQUIRE(ring.put(48).ok());
  REQUIRE(ring.reader.peek().ok());
  ring.reader.release();
  ring.control.written = 0;
  CHECK(ring.reader.peek().status().code() == Code::kMalformed);
}

TEST_CASE("a record's length is bounded by what was written, and stays what it was when peeked") {
  for (std::uint32_t lie : {0u, 15u, 49u, 4096u, 0x7fffffffu, 0xffffffffu}) {
    Ring ring;
    REQUIRE(ring.put(48).ok());
    std::memcpy(ring.bytes.data(), &lie, sizeof(lie));
    CHECK_MESSAGE(ring.reader.peek().status().code() == Code::kMalformed, lie);
  }
  Ring ring;
  REQUIRE(ring.put(48).ok());
  REQUIRE(ring.put(48).ok());
  CHECK(ring.reader.peek().value().size() == 64);
  const std::uint32_t later = 112;  // both records as one, would it be believed now
  std::memcpy(ring.bytes.data(), &later, sizeof(later));
  CHECK(ring.reader.peek().value().size() == 64);
  ring.reader.release();
  CHECK(ring.reader.peek().value().size() == 64);
}

TEST_CASE("memory that could shrink, of another size, or not of the kernel's is refused") {
  const auto refused = [](Fd fd) {
    REQUIRE(fd);
    return ShmMemory::adopt(std::move(fd), kRing).status().code() == Code::kMalformed;
  };
  const int all = F_SEAL_SHRINK | F_SEAL_GROW;
  CHECK(ShmMemory::adopt(memory(kWholeFile, all), kRing).ok());
  CHECK(refused(memory(kWholeFile, 0)));
  CHECK(refused(memory(kWholeFile, F_SEAL_SHRINK)));
  CHECK(refused(memory(kWholeFile, F_SEAL_GROW)));
  CHECK(refused(memory(kWholeFile - 4096, all)));
  CHECK(refused(memory(kWholeFile + 1, all)));
  CHECK(refused(memory(0, all)));
  CHECK(refused(Fd(::open("/dev/zero", O_RDWR | O_CLOEXEC))));
  CHECK(refused(Fd(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC))));
  CHECK(refused(socket_pair().near));
  // Memory that may not be written is of no use, and says so.
  CHECK_FALSE(ShmMemory::adopt(memory(kWholeFile, all | F_SEAL_WRITE), kRing).ok());
}

TEST_CASE("a lane that starts with anything but one descriptor is refused") {
  Pair sockets = socket_pair();
  REQUIRE(::write(sockets.far.get(), "M", 1) == 1);
  CHECK(join_shm(std::move(sockets.near), kLaneCalls, -1, soon()).status().code() ==
        Code::kMalformed);
  sockets = socket_pair();
  sockets.far.reset();
  CHECK(join_shm(std::move(sockets.near), kLaneCalls, -1, soon()).status().code() == Code::kClosed);
  sockets = socket_pair();
  CHECK(join_shm(std::move(sockets.near), kLaneCalls, -1, Deadline::after(system_clock(), 1))
            .status()
            .code() == Code::kTimeout);
}

TEST_CASE("records pass both ways, and wrap around the ring's end in one piece") {
  Lanes lanes = joined();
  CHECK(lanes.client->describe() == "shm");
  for (std::uint32_t i = 0; i < 200; ++i) {
    const std::uint32_t length = 16 + i * 997 % 60'000;
    for (auto [from, to] : {std::pair(lanes.client.get(), lanes.server.get()),
                            std::pair(lanes.server.get(), lanes.client.get())}) {
      std::span<std::byte> slot = from->tx_reserve(limits::kRecordHeaderBytes + length);
      std::memset(slot.data(), static_cast<int>(i), slot.size());
      std::memcpy(slot.data(), &length, sizeof(length));
      REQUIRE(from->tx_commit(slot.size()).ok());
      REQUIRE(to->wait(soon()).ok());
      std::span<const std::byte> got = to->rx_peek().value();
      REQUIRE(got.size() == limits::kRecordHeaderBytes + length);
      CHECK(got.back() == static_cast<std::byte>(i));
      CHECK(got[got.size() / 2] == static_cast<std::byte>(i));
      to->rx_release();
    }
  }
}

TEST_CASE("a writer of a full ring sleeps until there is room, and loses nothing") {
  Lanes lanes = joined();
  constexpr std::uint32_t kRecords = 2'000;
  Status sent;
  WatchedThread writer([&] {
    for (std::uint32_t i = 0; i < kRecords && sent.ok(); ++i) sent = send(*lanes.client, 4000 + i);
  });
  writer.await_sleep();
  for (std::uint32_t i = 0; i < kRecords; ++i) {
    REQUIRE(lanes.server->wait(soon()).ok());
    CHECK(peeked(*lanes.server) == 4016 + i);
    lanes.server->rx_release();
  }
  writer.join();
  CHECK_MESSAGE(sent.ok(), sent.to_string());
}

TEST_CASE("a reader that sleeps is woken by a record, again and again") {
  Lanes lanes = joined();
  std::thread echo([&] {
    while (lanes.server->wait(soon()).ok()) {
      const std::size_t bytes = peeked(*lanes.server);
      lanes.server->rx_release();
      if (!send(*lanes.server, static_cast<std::uint32_t>(bytes) - 16).ok()) break;
    }
  });
  for (std::uint32_t i = 0; i < 500; ++i) {
    REQUIRE(send(*lanes.client, 100 + i).ok());
    REQUIRE(lanes.client->wait(soon()).ok());
    CHECK(peeked(*lanes.client) == 116 + i);
    lanes.client->rx_release();
  }
  lanes.client->close();
  echo.join();
}

TEST_CASE("close wakes a writer that waits for room and a reader that waits for a record") {
  for (bool by_peer : {false, true}) {
    Lanes lanes = joined();
    Status written, read;
    WatchedThread writer([&] {
      while (written.ok()) written = send(*lanes.client, 60'000);
    });
    WatchedThread reader([&] { read = lanes.client->wait(Deadline::never()); });
    writer.await_sleep();
    reader.await_sleep();
    (by_peer ? lanes.server : lanes.client)->close();
    writer.join();
    reader.join();
    CHECK(written.code() == Code::kClosed);
    CHECK(read.code() == Code::kClosed);
    // Sealing on goes nowhere and harms nobody.
    CHECK(send(*lanes.client, 60'000).code() == Code::kClosed);
  }
}

TEST_CASE("what a peer wrote before it went is still read") {
  Lanes lanes = joined();
  REQUIRE(send(*lanes.server, 77).ok());
  lanes.server.reset();
  REQUIRE(lanes.client->wait(soon()).ok());
  CHECK(peeked(*lanes.client) == 93);
  lanes.client->rx_release();
  CHECK(lanes.client->wait(soon()).code() == Code::kClosed);
}

TEST_CASE("the end of the watched connection is the end of a wait") {
  Pair control = socket_pair();
  Lanes lanes = joined(control.near.get());
  CHECK(lanes.client->wait(Deadline::after(system_clock(), 1)).code() == Code::kTimeout);
  control.far.reset();
  CHECK(lanes.client->wait(soon()).code() == Code::kClosed);
}

TEST_CASE("a forked child has nothing of the lane's memory") {
  Result<ShmMemory> memory = ShmMemory::make(kRing);
  REQUIRE(memory.ok());
  memory.value().bytes(0)[0] = std::byte{7};
  const pid_t child = ::fork();
  if (child == 0) {
    unsigned char resident = 0;
    const bool gone = ::mincore(memory.value().bytes(0), 1, &resident) != 0 && errno == ENOMEM;
    ::_exit(gone ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}
