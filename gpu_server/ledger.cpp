#include "gpu_server/ledger.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <new>

namespace farcall::server {
namespace {

constexpr std::uint64_t kMagic = 0x3152'4544'4c43'4146;  // "FACLEDR1"
constexpr std::size_t kRows = limits::kLeaseDevicesMax + 2;
constexpr std::size_t kSlots = limits::kLeaseSessionsMax;
constexpr unsigned kTriesMax = 8;

std::uint64_t sum_of(std::uint64_t a, std::uint64_t b) {
  std::uint64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

// At most what is there.
void take_back(std::atomic<std::uint64_t>& cell, std::uint64_t bytes) {
  std::uint64_t now = cell;
  while (!cell.compare_exchange_weak(now, now - std::min(now, bytes))) {
  }
}

}  // namespace

// Slots of one row lie together, because they are read together.
struct Ledger::Page {
  std::uint64_t magic;
  LeaseLimits limits;
  std::atomic<std::uint32_t> slots_used;  // those beyond were never taken
  Cell peaks[kRows];
  Cell cells[kRows][kSlots];
  TurnWords turns;
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "workers share it without locks");

Ledger::Ledger(Fd file, Page* page, unsigned slot)
    : file_(std::move(file)), page_(page), limits_(page->limits), slot_(slot) {}

Ledger::~Ledger() { ::munmap(page_, sizeof(Page)); }

Result<std::unique_ptr<Ledger>> Ledger::create(const LeaseLimits& limits) {
  Fd file(::memfd_create("farcall-ledger", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file || ::ftruncate(file.get(), sizeof(Page)) != 0) {
    return Status::system("make the ledger of a lease");
  }
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  if (::fcntl(file.get(), F_ADD_SEALS, kSeals) != 0) return Status::system("seal a ledger");
  void* at = ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (at == MAP_FAILED) return Status::system("map the ledger of a lease");
  Page* page = new (at) Page{};
  page->limits = limits;
  page->slots_used = 1;  // that of a worker without a supervisor
  page->magic = kMagic;
  return std::unique_ptr<Ledger>(new Ledger(std::move(file), page, 0));
}

Result<std::unique_ptr<Ledger>> Ledger::join(Fd fd, unsigned slot) {
  struct stat facts {};
  if (::fstat(fd.get(), &facts) != 0) return Status::system("look at the ledger of a lease");
  const Status wrong(Code::kMalformed, "this is no ledger of a lease of this build");
  if (facts.st_size != static_cast<off_t>(sizeof(Page)) || slot >= kSlots) return wrong;
  void* at = ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (at == MAP_FAILED) return Status::system("map the ledger of a lease");
  std::unique_ptr<Ledger> ledger(new Ledger(std::move(fd), static_cast<Page*>(at), slot));
  if (ledger->page_->magic != kMagic) return wrong;
  return ledger;
}

TurnWords& Ledger::turns() { return page_->turns; }
std::size_t Ledger::slots_used() const { return std::min<std::size_t>(page_->slots_used, kSlots); }

std::uint64_t Ledger::limit(Account account) const {
  switch (account) {
    case Account::kMemory: return limits_.memory_bytes;
    case Account::kImages: return limits_.image_bytes_max;
    case Account::kInFlight: return limits_.in_flight_bytes_max;
  }
  return kNoLimit;
}

std::size_t Ledger::row_of(Place place) {
  if (place.account == Account::kImages) return limits::kLeaseDevicesMax;
  if (place.account == Account::kInFlight) return limits::kLeaseDevicesMax + 1;
  return std::min<std::size_t>(static_cast<std::size_t>(std::max(place.device, 0)),
                               limits::kLeaseDevicesMax - 1);
}

std::uint64_t Ledger::held(Place place) const {
  const Cell* cells = page_->cells[row_of(place)];
  const std::size_t used = slots_used();
  std::uint64_t sum = 0;
  for (std::size_t slot = 0; slot < used; ++slot) sum = sum_of(sum, cells[slot]);
  return sum;
}

std::uint64_t Ledger::own(Place place) const { return page_->cells[row_of(place)][slot_]; }
std::uint64_t Ledger::peak(Place place) const { return page_->peaks[row_of(place)]; }

bool Ledger::has_room(Place place, std::uint64_t bytes) const {
  const std::uint64_t most = limit(place.account);
  return most == kNoLimit || sum_of(held(place), bytes) <= most;
}

void Ledger::tell_taken(Place place, std::uint64_t bytes) {
  if (facts_ != nullptr && place.account == Account::kMemory) facts_->take_memory(bytes);
}

void Ledger::charge_anyway(Place place, std::uint64_t bytes) {
  Cell& cell = page_->cells[row_of(place)][slot_];
  std::uint64_t now = cell;
  while (!cell.compare_exchange_weak(now, sum_of(now, bytes))) {
  }
  tell_taken(place, bytes);
  Cell& peak = page_->peaks[row_of(place)];
  const std::uint64_t all = held(place);
  for (std::uint64_t most = peak; most < all && !peak.compare_exchange_weak(most, all);) {
  }
}

void Ledger::give_back(Place place, std::uint64_t bytes) {
  take_back(page_->cells[row_of(place)][slot_], bytes);
  if (facts_ != nullptr && place.account == Account::kMemory) facts_->give_back_memory(bytes);
}

// What does not fit is not even entered for a moment, so that a session which asks for far too much
// again and again does not get in the way of the others of its lease.
bool Ledger::charge(Place place, std::uint64_t bytes) {
  const std::uint64_t most = limit(place.account);
  if (most == kNoLimit) {
    charge_anyway(place, bytes);
    return true;
  }
  Cell& cell = page_->cells[row_of(place)][slot_];
  // Sessions that ask at the same moment must not all give up: some try more often than others.
  for (unsigned attempt = 0; attempt <= slot_ % kTriesMax; ++attempt) {
    if (!has_room(place, bytes)) return false;
    cell += bytes;
    const std::uint64_t all = held(place);
    if (all <= most) {
      Cell& peak = page_->peaks[row_of(place)];
      for (std::uint64_t seen = peak; seen < all && !peak.compare_exchange_weak(seen, all);) {
      }
      tell_taken(place, bytes);
      return true;
    }
    take_back(cell, bytes);
  }
  return false;
}

std::optional<unsigned> Ledger::take_slot() {
  auto taken = taken_.lock();
  for (unsigned slot = 0; slot < kSlots; ++slot) {
    if (taken->test(slot)) continue;
    taken->set(slot);
    for (auto& row : page_->cells) row[slot] = 0;
    page_->turns.clear(slot);
    if (page_->slots_used <= slot) page_->slots_used = slot + 1;
    return slot;
  }
  return std::nullopt;
}

void Ledger::leave(unsigned slot) {
  if (slot >= kSlots) return;
  auto taken = taken_.lock();
  for (auto& row : page_->cells) row[slot] = 0;
  page_->turns.clear(slot);
  taken->reset(slot);
}

std::uint64_t charged_bytes(std::uint64_t bytes) {
  const std::uint64_t step =
      bytes <= limits::kSmallPieceBytesMax ? limits::kSmallPieceStep : limits::kLargePieceStep;
  if (bytes > UINT64_MAX - step) return UINT64_MAX;
  return (bytes + step - 1) / step * step;
}

}  // namespace farcall::server
