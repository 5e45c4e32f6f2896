#include "client_shim/mirror_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <utility>

namespace farcall::shim {
namespace {

void* at_address(std::uint64_t address) {
  return reinterpret_cast<void*>(static_cast<std::uintptr_t>(address));
}

// Whole pages that nobody can write any more. It is their protection that orders the writes before
// with this read, which ThreadSanitizer does not see: there it is left to itself.
#if defined(__SANITIZE_THREAD__)
__attribute__((no_sanitize("thread"))) void copy_closed(void* to, const void* from,
                                                        std::size_t bytes) {
  auto* out = static_cast<volatile std::uint64_t*>(to);
  const auto* in = static_cast<const volatile std::uint64_t*>(from);
  for (std::size_t i = 0; i < bytes / sizeof *in; ++i) out[i] = in[i];
}
#else
void copy_closed(void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); }
#endif

}  // namespace

std::size_t whole_pages(std::size_t bytes) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

Result<PageStore> PageStore::create() {
  Fd file(::memfd_create("farcall pages", MFD_CLOEXEC));
  if (!file) return Status::system("memfd_create");
  return PageStore(std::move(file));
}

Result<std::uint64_t> PageStore::take(std::size_t bytes) {
  const std::uint64_t at = end_;
  if (::ftruncate(file_.get(), static_cast<off_t>(at + bytes)) != 0) {
    return Status::system("more shared pages");
  }
  end_ += bytes;
  return at;
}

void PageStore::give_back(std::uint64_t at, std::size_t bytes) {
  // A failure keeps the pages until the process ends.
  (void)::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(at),
                    static_cast<off_t>(bytes));
}

Result<MirrorMemory> MirrorMemory::map(PageStore& store, std::uint64_t address, std::size_t bytes,
                                       int protection, bool replaces) {
  MirrorMemory made(store, address, bytes);
  const std::size_t pages = whole_pages(bytes);
  if (pages < bytes) return Status(Code::kOverQuota, "more bytes than there are addresses");
  auto taken = store.take(pages);
  if (!taken.ok()) return taken.status();
  made.in_store_ = taken.value();
  void* ours = ::mmap(nullptr, pages, PROT_READ | PROT_WRITE, MAP_SHARED, store.file(),
                      static_cast<off_t>(made.in_store_));
  if (ours == MAP_FAILED) return Status::system("map shared pages");
  made.ours_ = static_cast<std::byte*>(ours);
  if (replaces) {
    if (::mprotect(at_address(address), pages, PROT_READ) != 0) return Status::system("protect");
    copy_closed(ours, at_address(address), pages);
  }
  const int fixed = replaces ? MAP_FIXED : MAP_FIXED_NOREPLACE;
  void* view = ::mmap(at_address(address), pages, protection, MAP_SHARED | fixed, store.file(),
                      static_cast<off_t>(made.in_store_));
  if (view == MAP_FAILED && replaces) {
    const Status failed = Status::system("map over the program's pages");
    ::mprotect(at_address(address), pages, PROT_READ | PROT_WRITE);
    return failed;
  }
  if (view == MAP_FAILED && errno == EEXIST) return Status(Code::kBusy, "the address is taken");
  if (view == MAP_FAILED) return Status::system("map at the device's address");
  if (view != at_address(address)) {  // a kernel before 4.17 took the address for a wish
    ::munmap(view, pages);
    return Status(Code::kBusy, "the address is taken");
  }
  made.is_mapped_ = true;
  ::madvise(view, pages, MADV_DONTFORK);
  ::madvise(ours, pages, MADV_DONTFORK);
  return made;
}

MirrorMemory::MirrorMemory(MirrorMemory&& other) noexcept
    : store_(other.store_),
      address_(other.address_),
      bytes_(other.bytes_),
      in_store_(other.in_store_),
      is_mapped_(std::exchange(other.is_mapped_, false)),
      ours_(std::exchange(other.ours_, nullptr)) {}

MirrorMemory::~MirrorMemory() {
  if (is_mapped_) ::munmap(at_address(address_), whole_pages(bytes_));
  if (ours_ == nullptr) return;
  ::munmap(ours_, whole_pages(bytes_));
  store_->give_back(in_store_, whole_pages(bytes_));
}

bool MirrorMemory::restore() {
  const std::size_t pages = whole_pages(bytes_);
  void* own = ::mmap(nullptr, pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (own == MAP_FAILED) return false;
  bool moved = ::mprotect(at_address(address_), pages, PROT_READ) == 0;
  if (moved) {
    auto* to = static_cast<std::byte*>(own);
    for (const Part& part : touched(0, bytes_)) {
      std::memcpy(to + part.at, ours_ + part.at, part.bytes);
    }
    moved = ::mremap(own, pages, pages, MREMAP_MAYMOVE | MREMAP_FIXED, at_address(address_)) !=
            MAP_FAILED;
  }
  if (!moved) ::munmap(own, pages);
  is_mapped_ = !moved;
  return moved;
}

bool MirrorMemory::protect(std::size_t at, std::size_t bytes, int protection) const {
  return ::mprotect(at_address(address_ + at), whole_pages(bytes), protection) == 0;
}

std::vector<MirrorMemory::Part> MirrorMemory::touched(std::size_t at, std::size_t bytes) const {
  std::vector<Part> parts;
  const auto first = static_cast<off_t>(in_store_ + at);
  const auto end = static_cast<off_t>(in_store_ + at + bytes);
  for (off_t from = first; from < end;) {
    const off_t data = ::lseek(store_->file(), from, SEEK_DATA);
    if (data < 0 && errno != ENXIO) return {{at, bytes}};  // cannot tell: all of it
    if (data < 0 || data >= end) break;
    off_t hole = ::lseek(store_->file(), data, SEEK_HOLE);
    if (hole < 0 || hole > end) hole = end;
    parts.push_back(
        {static_cast<std::size_t>(data - first) + at, static_cast<std::size_t>(hole - data)});
    from = hole;
  }
  return parts;
}

}  // namespace farcall::shim
