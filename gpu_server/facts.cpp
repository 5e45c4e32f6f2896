#include "gpu_server/facts.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <new>

#include "gpu_server/call_notes.h"

namespace farcall::server {
namespace {

constexpr std::uint64_t kMagic = 0x3154'4341'4643'4146;  // "FACFACT1"
static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "two processes share them");

}  // namespace

struct FactsPage::Page {
  std::uint64_t magic;
  std::atomic<std::uint64_t> cells[kTallies];
  CallNotes notes;
};

Result<FactsPage::Page*> FactsPage::map(int file) {
  void* at = ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (at == MAP_FAILED) return Status::system("map a session's facts");
  return static_cast<Page*>(at);
}

Result<std::unique_ptr<FactsPage>> FactsPage::create() {
  Fd file(::memfd_create("farcall-facts", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file || ::ftruncate(file.get(), sizeof(Page)) != 0) {
    return Status::system("make a page for a session's facts");
  }
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  if (::fcntl(file.get(), F_ADD_SEALS, kSeals) != 0) {
    return Status::system("seal a session's facts");
  }
  Result<Page*> at = map(file.get());
  if (!at.ok()) return at.status();
  Page* page = new (at.value()) Page{};
  page->magic = kMagic;
  return std::unique_ptr<FactsPage>(new FactsPage(std::move(file), page));
}

FactsPage::~FactsPage() { ::munmap(page_, sizeof(Page)); }

Tallies FactsPage::read() const {
  Tallies now;
  std::copy(std::begin(page_->cells), std::end(page_->cells), now.values.begin());
  return now;
}

std::vector<CallNote> FactsPage::calls() const { return page_->notes.read(); }

Facts::Facts()
    : own_(std::make_unique<FactsPage::Page>()), cells_(own_->cells), notes_(&own_->notes) {}

Facts::Facts(FactsPage::Page* page, Fd pipe)
    : page_(page), cells_(page->cells), notes_(&page->notes), pipe_(std::move(pipe)) {}

Facts::~Facts() {
  if (page_ != nullptr) ::munmap(page_, sizeof(FactsPage::Page));
}

Result<std::unique_ptr<Facts>> Facts::join(Fd page, Fd pipe) {
  struct stat about {};
  if (::fstat(page.get(), &about) != 0) return Status::system("look at the page for facts");
  const Status wrong(Code::kMalformed, "this is no page for facts of this build");
  if (about.st_size != static_cast<off_t>(sizeof(FactsPage::Page))) return wrong;
  if (pipe && ::fcntl(pipe.get(), F_SETFL, O_NONBLOCK) != 0) {
    return Status::system("prepare the pipe for facts");
  }
  Result<FactsPage::Page*> at = FactsPage::map(page.get());
  if (!at.ok()) return at.status();
  std::unique_ptr<Facts> facts(new Facts(at.value(), std::move(pipe)));
  if (facts->page_->magic != kMagic) return wrong;
  return facts;
}

void Facts::count(Tally what, std::uint64_t more) {
  cell(what).fetch_add(more, std::memory_order_relaxed);
}

void Facts::set(Tally what, std::uint64_t value) { cell(what).store(value); }

void Facts::take_memory(std::uint64_t bytes) {
  if (bytes == 0) return;
  count(Tally::kAllocations);
  count(Tally::kAllocatedBytes, bytes);
  const std::uint64_t now =
      cell(Tally::kMemoryHeld).fetch_add(bytes, std::memory_order_relaxed) + bytes;
  Cell& peak = cell(Tally::kMemoryPeak);
  for (std::uint64_t most = peak.load(std::memory_order_relaxed);
       most < now && !peak.compare_exchange_weak(most, now);) {
  }
}

void Facts::give_back_memory(std::uint64_t bytes) {
  Cell& held = cell(Tally::kMemoryHeld);
  std::uint64_t now = held.load(std::memory_order_relaxed);
  while (!held.compare_exchange_weak(now, now - std::min(now, bytes))) {
  }
}

void Facts::module(const ModuleFact& fact) {
  count(Tally::kModules);
  if (!pipe_) return;
  std::array<std::byte, limits::kFactBytes> record;
  encode_fact(fact, record);
  const auto room = static_cast<ssize_t>(record.size());
  if (::write(pipe_.get(), record.data(), record.size()) != room) count(Tally::kModulesLost);
}

Tallies Facts::read() const {
  Tallies now;
  std::copy(cells_, cells_ + kTallies, now.values.begin());
  return now;
}

}  // namespace farcall::server
