// MirrorMemory: the pages of memory that program and device both touch, mapped twice: once where
// the program looks for them, under changing protection, and once for us, always open.
//
//   auto store = PageStore::create();
//   auto memory = MirrorMemory::map(store.value(), address, bytes, PROT_NONE);   // not overwriting
//   read_into(memory.value().ours().subspan(at, bytes));           // the program does not see it
//   yet memory.value().protect(at, bytes, PROT_READ);                  // now it does
//
// So a page is never seen half filled, and copying it needs no right of the program's. All pages
// are of one file in memory, which tells which of them anybody has ever touched. In the child of a
// fork neither mapping exists, as with NVIDIA's driver.
// Owner: one Mirror; the store outlives its memories.  Threads: external lock.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::shim {

// Where the pages come from. Addresses in it only grow; what is given back costs nothing.
class PageStore {
 public:
  static Result<PageStore> create();
  int file() const { return file_.get(); }
  // `bytes` (whole pages) at the end.  Errors: kSystem.
  Result<std::uint64_t> take(std::size_t bytes);
  void give_back(std::uint64_t at, std::size_t bytes);

 private:
  explicit PageStore(Fd file) : file_(std::move(file)) {}
  Fd file_;
  std::uint64_t end_ = 0;
};

class MirrorMemory {
 public:
  // Maps `bytes` (rounded up to whole pages) of zeros at `address`.
  //   replaces  the range is the program's and gives way; else it must be free. Its pages may be
  //             read all the time, and nothing that is written to them is lost: a write between
  //             the copy and the change finds them protected
  // Errors: kBusy when something is there; kSystem.
  static Result<MirrorMemory> map(PageStore& store, std::uint64_t address, std::size_t bytes,
                                  int protection, bool replaces = false);
  MirrorMemory(MirrorMemory&& other) noexcept;
  MirrorMemory& operator=(MirrorMemory&& other) = delete;
  ~MirrorMemory();

  std::span<std::byte> ours() const { return {ours_, bytes_}; }
  // The program's pages are its own again, private and open, with these bytes. Like replacing, the
  // other way round. False: no memory, and nothing has changed but that they may only be read.
  bool restore();
  // What the program may do with these bytes; `at` is a multiple of the page size.
  // False: out of mappings.
  bool protect(std::size_t at, std::size_t bytes, int protection) const;
  struct Part {
    std::size_t at, bytes;
  };
  // The parts of this range that were ever touched, in whole pages cut off at the range's end.
  std::vector<Part> touched(std::size_t at, std::size_t bytes) const;

 private:
  MirrorMemory(PageStore& store, std::uint64_t address, std::size_t bytes)
      : store_(&store), address_(address), bytes_(bytes) {}
  PageStore* store_;
  std::uint64_t address_;
  std::size_t bytes_;
  std::uint64_t in_store_ = 0;
  bool is_mapped_ = false;
  std::byte* ours_ = nullptr;
};

std::size_t whole_pages(std::size_t bytes);

}  // namespace farcall::shim
