#include "transport/base/key_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>

#include "transport/base/check.h"
#include "transport/base/unique.h"

namespace farcall {
namespace {

// Source: include/uapi/asm-generic/unistd.h, Linux 5.14; older headers lack it.
constexpr long kMemfdSecret = 447;

std::atomic<bool> g_is_used{false};

std::size_t page_bytes() { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

Status unavailable(const char* what, int error) {
  const char* advice = "";
  if (error == ENOSYS) {
    advice = "; the kernel is older than 5.14, or was started without secretmem.enable=1";
  } else if (error == EAGAIN) {
    advice = "; RLIMIT_MEMLOCK leaves no room for it";
  } else if (error == EPERM) {
    advice = "; whoever runs this container forbids it";
  }
  return {Code::kUnsupported, std::string(what) + ": " + std::strerror(error) + advice};
}

// An access to a page that is not to be had would be a signal; a call says so.
bool is_there(std::byte* page) {
  const ssize_t got = ::getrandom(page, 1, GRND_NONBLOCK);
  if (got == 1) *page = std::byte{0};
  return got == 1 || errno != EFAULT;
}

struct Mapping {
  std::byte* at = nullptr;
  std::size_t bytes = 0;
  ~Mapping() {
    if (at != nullptr) ::munmap(at, bytes);
  }
};

// bytes: whole pages
Status map_secret(std::size_t bytes, Mapping* fresh) {
  const Fd file(static_cast<int>(::syscall(kMemfdSecret, O_CLOEXEC)));
  if (!file) return unavailable("memfd_secret", errno);
  if (::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0)
    return unavailable("its size", errno);
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (at == MAP_FAILED) return unavailable("map it", errno);
  fresh->at = static_cast<std::byte*>(at);
  fresh->bytes = bytes;
  // Else a child would share it, and could read it.
  if (::madvise(at, bytes, MADV_DONTFORK) != 0) return unavailable("keep it from children", errno);
  for (std::size_t page = 0; page < bytes; page += page_bytes()) {
    if (!is_there(fresh->at + page)) return unavailable("get a page of it", ENOMEM);
  }
  return ok();
}

// The buffer's pages become secret ones, at the same addresses: it need not know.
void make_secret(const SecureBuffer& buffer) {
  const std::size_t page = page_bytes();
  const std::size_t bytes = (buffer.size() + page - 1) / page * page;
  Mapping fresh;
  if (!map_secret(bytes, &fresh).ok()) return;
  const void* moved =
      ::mremap(fresh.at, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, buffer.data());
  if (moved != MAP_FAILED) {
    fresh.at = nullptr;
    return;
  }
  // What was there may be gone by now.
  const void* again = ::mmap(buffer.data(), bytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  FARCALL_CHECK(again != MAP_FAILED);
}

}  // namespace

void use_secret_memory() { g_is_used.store(true); }

Result<SecureBuffer> make_key_buffer(std::size_t bytes) {
  Result<SecureBuffer> buffer = SecureBuffer::make(bytes);
  if (buffer.ok() && g_is_used.load(std::memory_order_relaxed)) make_secret(buffer.value());
  return buffer;
}

Status try_secret_memory() {
  Mapping fresh;
  return map_secret(page_bytes(), &fresh);
}

}  // namespace farcall
