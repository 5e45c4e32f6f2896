#include "transport/link/shm_memory.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/link/socket.h"

#ifndef MFD_NOEXEC_SEAL
#  define MFD_NOEXEC_SEAL 8U
#endif

namespace farcall::link {
namespace {

// Both controls stand here, in front of the rings; as large as the largest page of any machine.
constexpr std::size_t kHeadBytes = 64 * 1024;
constexpr std::size_t kControlStride = 4096;
constexpr int kSealsNeeded = F_SEAL_SHRINK | F_SEAL_GROW;

constexpr std::size_t file_bytes(std::size_t ring_bytes) { return kHeadBytes + 2 * ring_bytes; }
constexpr std::size_t mapped_bytes(std::size_t ring_bytes) { return kHeadBytes + 4 * ring_bytes; }

constexpr char kMark = 'M';

// The one message about a lane's memory: a mark, and its descriptor. Room for one descriptor and no
// more: the kernel closes what a server sends beyond it.
struct Parcel {
  Parcel() {
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = room.data();
    header.msg_controllen = CMSG_LEN(sizeof(int));
  }
  Parcel(const Parcel&) = delete;
  Parcel& operator=(const Parcel&) = delete;

  char mark = 0;
  iovec part{&mark, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> room{};
  msghdr header{};
};

Status map_at(int fd, std::byte* at, std::size_t bytes, std::size_t offset) {
  void* mapped = ::mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
                        static_cast<off_t>(offset));
  return mapped == MAP_FAILED ? Status::system("map a lane's shared memory") : ok();
}

}  // namespace

ShmMemory::ShmMemory(Fd memory, std::byte* base, std::size_t ring_bytes)
    : memory_(std::move(memory)), base_(base), ring_bytes_(ring_bytes) {}

ShmMemory::ShmMemory(ShmMemory&& other) noexcept
    : memory_(std::move(other.memory_)),
      base_(std::exchange(other.base_, nullptr)),
      ring_bytes_(other.ring_bytes_) {}

ShmMemory::~ShmMemory() {
  if (base_ != nullptr) ::munmap(base_, mapped_bytes(ring_bytes_));
}

RingControl& ShmMemory::control(int direction) const {
  return *reinterpret_cast<RingControl*>(base_ + (direction == 0 ? 0 : kControlStride));
}

std::byte* ShmMemory::bytes(int direction) const {
  return base_ + kHeadBytes + (direction == 0 ? 0 : 2 * ring_bytes_);
}

Result<ShmMemory> ShmMemory::map(Fd memory, std::size_t ring_bytes) {
  const std::size_t all = mapped_bytes(ring_bytes);
  void* base = ::mmap(nullptr, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return Status::system("find room for a lane's shared memory");
  ShmMemory made(std::move(memory), static_cast<std::byte*>(base), ring_bytes);
  const int fd = made.memory_.get();
  Status mapped = map_at(fd, made.base_, kHeadBytes, 0);
  for (int direction : {0, 1}) {
    const std::size_t offset = kHeadBytes + static_cast<std::size_t>(direction) * ring_bytes;
    for (std::size_t copy = 0; copy < 2; ++copy) {
      if (!mapped.ok()) break;
      mapped = map_at(fd, made.bytes(direction) + copy * ring_bytes, ring_bytes, offset);
    }
  }
  if (!mapped.ok()) return mapped;
  // A forked child must not touch the lane.
  if (::madvise(base, all, MADV_DONTFORK) != 0) return Status::system("keep a lane from children");
  static_cast<void>(::madvise(base, all, MADV_DONTDUMP));  // it is ciphertext anyway
  return made;
}

Result<ShmMemory> ShmMemory::make(std::size_t ring_bytes) {
  Fd memory(::memfd_create("farcall-lane", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL));
  if (!memory && errno == EINVAL) {  // before Linux 6.3
    memory = Fd(::memfd_create("farcall-lane", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  }
  if (!memory) return Status::system("make a lane's shared memory");
  if (::ftruncate(memory.get(), static_cast<off_t>(file_bytes(ring_bytes))) != 0 ||
      ::fcntl(memory.get(), F_ADD_SEALS, kSealsNeeded | F_SEAL_SEAL) != 0) {
    return Status::system("size and seal a lane's shared memory");
  }
  return map(std::move(memory), ring_bytes);
}

Status ShmMemory::send(int socket) {
  Parcel parcel;
  parcel.mark = kMark;
  cmsghdr* rights = CMSG_FIRSTHDR(&parcel.header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  const int fd = memory_.get();
  std::memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
  ssize_t sent = -1;
  do {
    sent = ::sendmsg(socket, &parcel.header, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0 && errno == EPIPE) return {Code::kClosed, "the client is gone"};
  if (sent != 1) return Status::system("pass a lane's shared memory on");
  memory_.reset();
  return ok();
}

Result<ShmMemory> ShmMemory::receive(int socket, std::size_t ring_bytes, Deadline deadline) {
  if (Status waited = wait_readable(socket, deadline); !waited.ok()) return waited;
  Parcel parcel;
  ssize_t got = -1;
  do {
    got = ::recvmsg(socket, &parcel.header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got == 0)
    return Status(Code::kClosed, "the server granted a session, but its worker did not come up");
  if (got < 0) return Status::system("receive a lane's shared memory");
  const cmsghdr* rights = CMSG_FIRSTHDR(&parcel.header);
  if (rights == nullptr || rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS ||
      rights->cmsg_len != CMSG_LEN(sizeof(int))) {
    return Status(Code::kMalformed, "a lane came without its shared memory");
  }
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(rights), sizeof(fd));
  Fd memory(fd);
  if (parcel.mark != kMark || (parcel.header.msg_flags & MSG_CTRUNC) != 0) {
    return Status(Code::kMalformed, "a lane started with something else than its shared memory");
  }
  return adopt(std::move(memory), ring_bytes);
}

Result<ShmMemory> ShmMemory::adopt(Fd memory, std::size_t ring_bytes) {
  struct statfs where {};
  struct stat facts {};
  if (::fstatfs(memory.get(), &where) != 0 || ::fstat(memory.get(), &facts) != 0) {
    return Status::system("look at a lane's shared memory");
  }
  // Huge pages may be missing when touched, and a file system of the peer's may block for ever.
  const int seals = ::fcntl(memory.get(), F_GET_SEALS);
  if (where.f_type != TMPFS_MAGIC || seals < 0 || (seals & kSealsNeeded) != kSealsNeeded ||
      facts.st_size != static_cast<off_t>(file_bytes(ring_bytes))) {
    return Status(Code::kMalformed,
                  "a lane's shared memory is not sealed memory of the agreed size");
  }
  Result<ShmMemory> mapped = map(std::move(memory), ring_bytes);
  if (mapped.ok()) mapped.value().memory_.reset();
  return mapped;
}

}  // namespace farcall::link
