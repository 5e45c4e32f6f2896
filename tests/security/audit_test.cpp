// What is acknowledged is on disk, whatever happens next: crash, full disk, many at once.
#include "security/audit.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <set>
#include <thread>

#include "security/audit_line.h"
#include "security/audit_store.h"
#include "tests/security/audit_folder.h"
#include "transport/base/guarded.h"

namespace farcall::security {
namespace {

using farcall::testing::AuditFolder;

std::vector<AuditRecord> records(const AuditFolder& folder) {
  std::vector<AuditRecord> all;
  auto files = audit_files(folder.path());
  for (std::uint64_t number : files.value()) {
    for (const std::string& each : folder.lines(number)) {
      auto line = parse_line(std::string_view(each).substr(0, each.size() - 1));
      if (line.ok()) all.push_back(line->record);
    }
  }
  return all;
}

const AuditRecord* find(const std::vector<AuditRecord>& all, std::string_view kind) {
  for (const AuditRecord& each : all) {
    if (each.kind == kind) return &each;
  }
  return nullptr;
}

// A disk that has only so much room, whose writes can be made to wait or to be lost.
class Disk {
 public:
  struct State {
    std::uint64_t room = 1 << 30;
    bool refuses_sync = false;
    bool holds_sync = false;
    int syncs = 0;
    int entered = 0;
    bool signed_in_time = false;  // a checkpoint that was due by time has come
  };
  // For AuditOptions::open_file.
  AuditFileOpener opener() {
    return [this](const std::string& path) -> Result<std::unique_ptr<AuditFile>> {
      auto real = open_audit_file(path);
      if (!real.ok()) return real.status();
      return std::unique_ptr<AuditFile>(new File(std::move(real).value(), *this));
    };
  }
  void set(const std::function<void(State&)>& change) {
    change(*state_.lock());
    changed_.notify_all();
  }
  void await(const std::function<bool(State&)>& until) {
    auto state = state_.lock();
    state.wait(changed_, until);
  }
  State now() { return *state_.lock(); }

 private:
  class File final : public AuditFile {
   public:
    File(std::unique_ptr<AuditFile> real, Disk& disk) : real_(std::move(real)), disk_(disk) {}
    Status append(std::string_view bytes) override {
      std::uint64_t fits = 0;
      disk_.set([&](State& s) {
        fits = std::min<std::uint64_t>(s.room, bytes.size());
        s.room -= fits;
        if (bytes.find("\"reason\":\"time\"") != std::string_view::npos) s.signed_in_time = true;
      });
      Status done = real_->append(bytes.substr(0, fits));
      if (done.ok() && fits < bytes.size()) return Status::system("write", ENOSPC);
      return done;
    }
    Status sync() override {
      disk_.set([](State& s) { ++s.entered; });
      disk_.await([](State& s) { return !s.holds_sync; });
      bool refused = false;
      disk_.set([&](State& s) {
        ++s.syncs;
        refused = s.refuses_sync;
      });
      return refused ? Status::system("sync", EIO) : real_->sync();
    }
    Status cut(std::uint64_t bytes) override { return real_->cut(bytes); }

   private:
    std::unique_ptr<AuditFile> real_;
    Disk& disk_;
  };
  Guarded<State> state_;
  std::condition_variable changed_;
};

AuditOptions on(AuditFolder& folder, Disk& disk) {
  AuditOptions options = folder.options();
  options.open_file = disk.opener();
  options.retry_ms = 1;
  return options;
}

TEST_CASE("nothing is acknowledged before it is on disk, and all who wait share a write") {
  AuditFolder folder;
  Disk disk;
  auto log = AuditFolder::open(on(folder, disk));
  const int before = disk.now().syncs;
  disk.set([](Disk::State& s) { s.holds_sync = true; });
  std::atomic<bool> acknowledged = false;
  std::thread first([&] {
    CHECK(log->record(AuditFolder::session("first")).ok());
    acknowledged = true;
  });
  disk.await([&](Disk::State& s) { return s.entered == before + 1; });
  CHECK_FALSE(acknowledged);
  for (int i = 0; i < 500; ++i) log->post(AuditFolder::session("posted"));
  disk.set([](Disk::State& s) { s.holds_sync = false; });
  first.join();
  CHECK(log->record(AuditFolder::session("last")).ok());
  CHECK(disk.now().syncs <= before + 3);
  log.reset();
  CHECK(records(folder).size() == 2 + 1 + 500 + 1 + 1);
  CHECK(folder.verify().tail == AuditTail::kClosed);
}

TEST_CASE("many threads record at once, and each finds its record in a whole log") {
  AuditFolder folder;
  AuditOptions options = folder.options();
  options.file_bytes_max = 50'000;
  options.checkpoint_records = 100;
  constexpr int kThreads = 8;
  constexpr int kEach = 60;
  {
    auto log = AuditFolder::open(options);
    std::vector<std::thread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&log, thread] {
        for (int i = 0; i < kEach; ++i) {
          const std::string user = std::to_string(thread) + "-" + std::to_string(i);
          CHECK(log->record(AuditFolder::session(user)).ok());
          log->post(AuditFolder::session(user + "-posted"));
          CHECK_FALSE(log->checkpoint().empty());
        }
      });
    }
    for (std::thread& each : threads) each.join();
  }
  std::set<std::string> found;
  for (const AuditRecord& each : records(folder)) found.insert(each.principal);
  CHECK(found.size() == 2 * kThreads * kEach + 1);
  CHECK(audit_files(folder.path())->size() > 2);
  CHECK_MESSAGE(folder.verify().fault == AuditFault::kNone, folder.verify().text);
}

TEST_CASE("a full disk refuses what must be recorded, keeps the rest, and heals by itself") {
  AuditFolder folder;
  Disk disk;
  auto log = AuditFolder::open(on(folder, disk));
  REQUIRE(log->record(AuditFolder::session("before")).ok());
  disk.set([](Disk::State& s) { s.room = 100; });
  const Status refused = log->record(AuditFolder::session("refused"));
  CHECK(refused.code() == Code::kSystem);
  CHECK(refused.detail() == ENOSPC);
  CHECK(refused.text().find("cannot be written") != std::string::npos);
  AuditRecord ended = AuditFolder::session("ended");
  ended.kind = audit::kSessionEnd;
  log->post(ended);
  CHECK_FALSE(log->record(AuditFolder::session("refused")).ok());
  const int syncs = disk.now().syncs;
  disk.set([](Disk::State& s) { s.room = 1 << 30; });
  // Nobody records anything now.
  disk.await([&](Disk::State& s) { return s.syncs > syncs; });
  CHECK(log->record(AuditFolder::session("after")).ok());
  log.reset();
  const auto all = records(folder);
  REQUIRE(find(all, audit::kGap) != nullptr);
  CHECK(detail(*find(all, audit::kGap), "records") == "2");
  REQUIRE(find(all, audit::kSessionEnd) != nullptr);
  for (const AuditRecord& each : all) CHECK(each.principal.find("refused") == std::string::npos);
  CHECK(all[all.size() - 2].principal.ends_with("/after"));
  CHECK_MESSAGE(folder.verify().tail == AuditTail::kClosed, folder.verify().text);
}

TEST_CASE("a write that the disk did not confirm does not count and leaves nothing behind") {
  AuditFolder folder;
  Disk disk;
  auto log = AuditFolder::open(on(folder, disk));
  disk.set([](Disk::State& s) { s.refuses_sync = true; });
  CHECK(log->record(AuditFolder::session("lost")).detail() == EIO);
  disk.set([](Disk::State& s) { s.refuses_sync = false; });
  CHECK(log->record(AuditFolder::session("kept")).ok());
  log.reset();
  CHECK(folder.read().find("/lost") == std::string::npos);
  CHECK(folder.read().find("/kept") != std::string::npos);
  CHECK_MESSAGE(folder.verify().tail == AuditTail::kClosed, folder.verify().text);
}

TEST_CASE("what is posted to a log that cannot be written is bounded and counted") {
  AuditFolder folder;
  Disk disk;
  auto log = AuditFolder::open(on(folder, disk));
  disk.set([](Disk::State& s) { s.room = 0; });
  constexpr std::size_t kPosted = 3 * limits::kAuditHeldMax;
  for (std::size_t i = 0; i < kPosted; ++i) log->post(AuditFolder::session("posted"));
  CHECK_FALSE(log->record(AuditFolder::session("asked")).ok());
  disk.set([](Disk::State& s) { s.room = 1 << 30; });
  log.reset();
  const auto all = records(folder);
  std::size_t kept = 0;
  for (const AuditRecord& each : all) kept += each.principal.ends_with("/posted") ? 1 : 0;
  CHECK(kept <= 2 * limits::kAuditHeldMax);
  REQUIRE(find(all, audit::kGap) != nullptr);
  const std::string lost(detail(*find(all, audit::kGap), "records"));
  CHECK(kept + std::stoul(lost) == kPosted + 1);
  CHECK_MESSAGE(folder.verify().tail == AuditTail::kClosed, folder.verify().text);
}

TEST_CASE("a checkpoint is made in time, and after so many records") {
  AuditFolder folder;
  AuditOptions options = folder.options();
  options.checkpoint_ms = 1;
  Disk disk;
  options.open_file = disk.opener();
  auto log = AuditFolder::open(options);
  const std::string first = log->checkpoint();
  REQUIRE(log->record(AuditFolder::session("ann")).ok());
  disk.await([](Disk::State& s) { return s.signed_in_time; });
  log.reset();
  CHECK(first.find("\"reason\":\"open\"") != std::string::npos);
  AuditFolder other;
  options = other.options();
  options.checkpoint_records = 5;
  AuditFolder::fill(20, options);
  CHECK(other.verify().checkpoints == 1 + 4 + 1);
}

TEST_CASE("a log belongs to one process, and to its owner") {
  AuditFolder folder;
  auto log = folder.open();
  auto second = AuditLog::open(folder.options());
  CHECK(second.status().code() == Code::kBusy);
  CHECK(second.status().text().find("--audit") != std::string::npos);
  log.reset();
  CHECK(AuditLog::open(folder.options()).ok());
  std::filesystem::permissions(folder.path(), std::filesystem::perms::others_write,
                               std::filesystem::perm_options::add);
  CHECK(AuditLog::open(folder.options()).status().code() == Code::kDenied);
  CHECK(AuditLog::open({}).status().code() == Code::kUnsupported);
}

TEST_CASE("a log that was tampered with is not gone on with") {
  AuditFolder folder;
  folder.fill(4);
  folder.flip(1, 700);
  const Status refused = AuditLog::open(folder.options()).status();
  CHECK(refused.code() == Code::kDenied);
  CHECK(refused.text().find("farcall audit verify") != std::string::npos);
}

TEST_CASE("a write that was cut short is moved aside, and said in the log") {
  for (const std::string& remains :
       {std::string("{\"seq\":7,\"time\":\"2026"), std::string(5'000, '\0'), std::string("{")}) {
    AuditFolder folder;
    folder.fill(3);
    const std::string before = folder.read();
    folder.write(1, before + remains);
    folder.fill(1);
    CHECK(folder.read().starts_with(before));
    const auto all = records(folder);
    REQUIRE(find(all, audit::kRecovered) != nullptr);
    CHECK(detail(*find(all, audit::kRecovered), "bytes") == std::to_string(remains.size()));
    CHECK(AuditFolder::read_path(folder.file(1) + ".cut-" + std::to_string(before.size())) ==
          remains);
    CHECK_MESSAGE(folder.verify().tail == AuditTail::kClosed, folder.verify().text);
  }
}

TEST_CASE("a further file whose header was never written is begun again") {
  AuditFolder folder;
  folder.fill(3);
  for (const std::string& remains : {std::string(), std::string("{\"seq\":")}) {
    folder.write(2, remains);
    folder.fill(2);
    CHECK(folder.lines(2)[0].find(audit::kFile) != std::string::npos);
    CHECK_MESSAGE(folder.verify().tail == AuditTail::kClosed, folder.verify().text);
    std::filesystem::remove(folder.file(2));
    std::filesystem::remove(folder.path() + "/checkpoint");
  }
}

// In the child: records until it is killed, and says on `told` what was acknowledged.
[[noreturn]] void record_for_ever(const AuditOptions& options, int told, std::uint32_t round) {
  auto log = AuditLog::open(options);
  if (!log.ok()) ::_exit(1);
  std::vector<std::thread> threads;
  for (std::uint32_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&log, told, round, thread] {
      for (std::uint32_t i = 0;; ++i) {
        const std::uint32_t name[3] = {round, thread, i};
        const std::string user =
            std::to_string(round) + "." + std::to_string(thread) + "." + std::to_string(i);
        if (!log.value()->record(AuditFolder::session(user)).ok()) ::_exit(2);
        if (::write(told, name, sizeof name) != sizeof name) ::_exit(3);
      }
    });
  }
  for (std::thread& each : threads) each.join();
  ::_exit(4);
}

TEST_CASE("a process killed at any moment loses nothing that it was told is recorded") {
  AuditFolder folder;
  AuditOptions options = folder.options();
  options.file_bytes_max = 20'000;
  options.checkpoint_records = 7;
  std::set<std::string> acknowledged;
  for (std::uint32_t round = 0; round < 12; ++round) {
    int pipe[2];
    REQUIRE(::pipe2(pipe, O_CLOEXEC) == 0);
    const pid_t child = ::fork();
    if (child == 0) record_for_ever(options, pipe[1], round);
    ::close(pipe[1]);
    std::uint32_t name[3];
    for (std::uint32_t heard = 0; ::read(pipe[0], name, sizeof name) == sizeof name; ++heard) {
      acknowledged.insert("spiffe://lab/tenant/acme/user/" + std::to_string(name[0]) + "." +
                          std::to_string(name[1]) + "." + std::to_string(name[2]));
      if (heard == 1 + round * round / 2) ::kill(child, SIGKILL);
    }
    ::close(pipe[0]);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    const AuditReport report = folder.verify();
    CHECK_MESSAGE(report.fault == AuditFault::kNone, report.text);
    CHECK(report.tail != AuditTail::kClosed);
  }
  folder.fill(1);
  CHECK(folder.verify().tail == AuditTail::kClosed);
  std::set<std::string> found;
  for (const AuditRecord& each : records(folder)) found.insert(each.principal);
  CHECK(acknowledged.size() > 100);
  for (const std::string& each : acknowledged) CHECK_MESSAGE(found.count(each) == 1, each);
}

}  // namespace
}  // namespace farcall::security
