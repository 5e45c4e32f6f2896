#include "security/audit.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <iterator>
#include <optional>
#include <thread>

#include "security/audit_store.h"
#include "transport/base/clock.h"
#include "transport/base/guarded.h"
#include "transport/base/log.h"

namespace farcall::security {
namespace {

// Of one who waits, on that thread's stack; guarded by the queue's lock.
struct Ticket {
  bool done = false;
  Status status;
};

struct Item {
  AuditEntry entry;
  Ticket* waiter = nullptr;  // null: posted
};

}  // namespace

// The queue, and the thread that empties it.
class AuditLog::Writer {
 public:
  Writer(std::unique_ptr<AuditStore> store, const AuditOptions& options);
  ~Writer();
  Status record(const AuditRecord& record);
  void post(const AuditRecord& record);
  std::string checkpoint() const { return *latest_.lock(); }
  const AuditStore& store() const { return *store_; }  // what does not change

 private:
  struct State {
    std::deque<Item> queue;
    std::uint64_t overflowed = 0;  // posted, and no room for them
    bool stopping = false;
  };
  Result<AuditEntry> entry_of(AuditRecord record) const;
  void run();
  // False when there is nothing left to do, ever.
  bool gather();
  int wait_ms() const;
  void write_gathered(bool stopping);
  void settle(const Status& done, std::size_t written);
  void keep(Item item);
  void tell(const Status& done);
  std::string_view due(std::size_t more, bool stopping) const;
  std::optional<AuditEntry> gap() const;

  const std::unique_ptr<AuditStore> store_;
  const AuditOptions options_;
  mutable Guarded<State> state_;
  mutable Guarded<std::string> latest_;
  std::condition_variable wake_;  // the thread
  std::condition_variable done_;  // those who wait
  // The thread's own:
  std::deque<Item> gathered_;  // in order; posted ones stay here while they cannot be written
  std::uint64_t lost_ = 0;     // records that were to be, and are not
  std::string failing_since_;  // empty: the last write went well
  std::int64_t signed_ns_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

AuditLog::Writer::Writer(std::unique_ptr<AuditStore> store, const AuditOptions& options)
    : store_(std::move(store)), options_(options), latest_(store_->checkpoint()) {
  signed_ns_ = system_clock().now_ns();
  thread_ = std::thread([this] { run(); });
}

AuditLog::Writer::~Writer() {
  state_.lock()->stopping = true;
  wake_.notify_one();
  thread_.join();
}

Result<AuditEntry> AuditLog::Writer::entry_of(AuditRecord record) const {
  if (record.server.empty()) record.server = options_.server;
  Result<std::string> fields = encode_fields(record);
  if (!fields.ok()) return fields.status();
  return AuditEntry{audit_time(store_->now_ns()), std::move(fields).value()};
}

Status AuditLog::Writer::record(const AuditRecord& record) {
  Result<AuditEntry> entry = entry_of(record);
  if (!entry.ok()) return entry.status();
  Ticket ticket;
  auto state = state_.lock();
  state->queue.push_back({std::move(entry).value(), &ticket});
  wake_.notify_one();
  state.wait(done_, [&](State&) { return ticket.done; });
  return ticket.status;
}

void AuditLog::Writer::post(const AuditRecord& record) {
  Result<AuditEntry> entry = entry_of(record);
  if (!entry.ok()) {
    FARCALL_LOG_ERROR("audit: %s", entry.status().to_string().c_str());
    return;
  }
  auto state = state_.lock();
  if (state->queue.size() >= limits::kAuditHeldMax) {
    ++state->overflowed;
    return;
  }
  state->queue.push_back({std::move(entry).value(), nullptr});
  wake_.notify_one();
}

void AuditLog::Writer::run() {
  while (gather()) write_gathered(false);
  while (!gathered_.empty()) {
    const std::size_t before = gathered_.size();
    write_gathered(false);
    if (gathered_.size() >= before) break;
  }
  write_gathered(true);
  if (!gathered_.empty() || lost_ != 0) {
    FARCALL_LOG_ERROR("audit: %llu record(s) could not be written",
                      static_cast<unsigned long long>(gathered_.size() + lost_));
  }
}

// How long to sleep when nobody has anything to record.
int AuditLog::Writer::wait_ms() const {
  if (!failing_since_.empty()) return static_cast<int>(options_.retry_ms);
  if (store_->unsigned_records() == 0) return INT32_MAX;
  const std::int64_t passed_ms = (system_clock().now_ns() - signed_ns_) / 1'000'000;
  return static_cast<int>(
      std::clamp<std::int64_t>(options_.checkpoint_ms - passed_ms, 0, INT32_MAX));
}

bool AuditLog::Writer::gather() {
  const bool hurry = failing_since_.empty() && !gathered_.empty();
  const int ms = hurry ? 0 : wait_ms();
  auto state = state_.lock();
  const auto until = [](State& s) { return s.stopping || !s.queue.empty(); };
  if (ms == INT32_MAX) {
    state.wait(wake_, until);
  } else {
    state.wait_for(wake_, ms, until);
  }
  std::move(state->queue.begin(), state->queue.end(), std::back_inserter(gathered_));
  state->queue.clear();
  lost_ += std::exchange(state->overflowed, 0);
  return !state->stopping;
}

// Why a checkpoint is to follow `more` records; empty: it is not.
std::string_view AuditLog::Writer::due(std::size_t more, bool stopping) const {
  if (stopping) return "close";
  if (store_->unsigned_records() + more >= options_.checkpoint_records) return "records";
  const std::int64_t passed_ms = (system_clock().now_ns() - signed_ns_) / 1'000'000;
  if (store_->unsigned_records() + more != 0 && passed_ms >= options_.checkpoint_ms) return "time";
  return more == 0 && !failing_since_.empty() ? "again" : "";
}

std::optional<AuditEntry> AuditLog::Writer::gap() const {
  if (lost_ == 0) return std::nullopt;
  AuditRecord record{.kind = std::string(audit::kGap), .outcome = AuditOutcome::kFailed};
  record.role = "server";
  record.details = {{"records", std::to_string(lost_)}, {"since", failing_since_}};
  Result<AuditEntry> entry = entry_of(record);
  return entry.ok() ? std::optional(std::move(entry).value()) : std::nullopt;
}

void AuditLog::Writer::write_gathered(bool stopping) {
  std::vector<AuditEntry> batch;
  if (std::optional<AuditEntry> missing = gap()) batch.push_back(std::move(*missing));
  const std::size_t count = std::min(gathered_.size(), limits::kAuditBatchMax);
  for (std::size_t i = 0; i < count; ++i) batch.push_back(gathered_[i].entry);
  const std::string_view why = due(batch.size(), stopping);
  if (batch.empty() && why.empty()) return;
  const Status done = store_->write(batch, why);
  if (done.ok() && !why.empty()) {
    signed_ns_ = system_clock().now_ns();
    *latest_.lock() = store_->checkpoint();
  }
  tell(done);
  settle(done, count);
}

// Once when it begins to fail, once when it is over.
void AuditLog::Writer::tell(const Status& done) {
  if (done.ok() && !failing_since_.empty()) {
    FARCALL_LOG_INFO("audit: the log is written again; %llu record(s) are missing since %s",
                     static_cast<unsigned long long>(lost_), failing_since_.c_str());
  }
  if (!done.ok() && failing_since_.empty()) {
    FARCALL_LOG_ERROR("audit: %s; what must be recorded is refused until there is room again",
                      done.text().c_str());
  }
  if (done.ok()) {
    lost_ = 0;
    failing_since_.clear();
  } else if (failing_since_.empty()) {
    failing_since_ = audit_time(store_->now_ns());
  }
}

// written: how many of the gathered the write was of. A failure is told to all who wait: what comes
// behind would fail as well.
void AuditLog::Writer::settle(const Status& done, std::size_t written) {
  const std::size_t count = done.ok() ? written : gathered_.size();
  std::deque<Item> settled(std::make_move_iterator(gathered_.begin()),
                           std::make_move_iterator(gathered_.begin() + static_cast<long>(count)));
  gathered_.erase(gathered_.begin(), gathered_.begin() + static_cast<long>(count));
  const Status told =
      done.ok()
          ? Status()
          : Status(Code::kSystem, "the audit log cannot be written: " + done.text(), done.detail());
  {
    auto state = state_.lock();
    for (Item& each : settled) {
      if (each.waiter == nullptr) continue;
      each.waiter->status = told;
      each.waiter->done = true;
    }
  }
  done_.notify_all();
  if (done.ok()) return;
  for (Item& each : settled) {
    if (each.waiter == nullptr && gathered_.size() < limits::kAuditHeldMax) {
      gathered_.push_back(std::move(each));
    } else {
      ++lost_;
    }
  }
}

Result<std::unique_ptr<AuditLog>> AuditLog::open(const AuditOptions& options) {
  Result<std::unique_ptr<AuditStore>> store = AuditStore::open(options);
  if (!store.ok()) return store.status();
  return std::unique_ptr<AuditLog>(
      new AuditLog(std::make_unique<Writer>(std::move(store).value(), options)));
}

AuditLog::AuditLog(std::unique_ptr<Writer> writer) : writer_(std::move(writer)) {}
AuditLog::~AuditLog() = default;

Status AuditLog::record(const AuditRecord& record) { return writer_->record(record); }
void AuditLog::post(const AuditRecord& record) { writer_->post(record); }
std::string AuditLog::checkpoint() const { return writer_->checkpoint(); }
const std::string& AuditLog::folder() const { return writer_->store().folder(); }
const std::string& AuditLog::key_fingerprint() const { return writer_->store().key_fingerprint(); }

}  // namespace farcall::security
