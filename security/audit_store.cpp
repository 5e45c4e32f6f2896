#include "security/audit_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <filesystem>

#include "security/crypto.h"
#include "security/file.h"
#include "transport/base/log.h"

namespace farcall::security {
namespace {

constexpr const char* kLatest = "/checkpoint";

std::string default_key(const AuditOptions& options) {
  return options.key_path.empty() ? options.folder + "/audit.key" : options.key_path;
}

Result<AuditSigner> load_or_make_key(const AuditOptions& options) {
  const std::string path = default_key(options);
  if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT) {
    const std::filesystem::path stem = std::filesystem::path(path).replace_extension();
    if (stem.string() + ".key" != path) {
      return Status(Code::kNotFound, path + ": no such key; farcall audit keygen makes one");
    }
    if (Status made = make_audit_key(stem); !made.ok()) return made;
    FARCALL_LOG_INFO("audit: made the key %s; keep a copy of %s.pub elsewhere", path.c_str(),
                     stem.c_str());
  }
  return AuditSigner::load(path);
}

std::string new_log_name() {
  std::array<std::byte, 16> random{};
  fill_random(random);
  return to_hex(random);
}

}  // namespace

std::string default_audit_folder() {
  if (::geteuid() == 0) return "/var/log/farcall/audit";
  const char* xdg = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  if (xdg != nullptr && *xdg == '/') return std::string(xdg) + "/farcall/audit";
  if (home != nullptr && *home == '/') return std::string(home) + "/.local/state/farcall/audit";
  return {};
}

AuditStore::AuditStore(const AuditOptions& options, Fd taken, AuditSigner signer, AuditEnd end)
    : options_(options),
      taken_(std::move(taken)),
      signer_(std::move(signer)),
      end_(std::move(end)),
      unsigned_records_(end_.unsigned_records) {}

std::int64_t AuditStore::now_ns() const {
  if (options_.now_ns) return options_.now_ns();
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

std::string AuditStore::path() const {
  return options_.folder + "/" + audit_file_name(end_.file_number);
}

Result<std::unique_ptr<AuditStore>> AuditStore::open(const AuditOptions& options) {
  if (options.folder.empty()) return Status(Code::kUnsupported, "an audit log needs a folder");
  Result<Fd> taken = take_audit_folder(options.folder);
  if (!taken.ok()) return taken.status();
  Result<AuditSigner> signer = load_or_make_key(options);
  if (!signer.ok()) return signer.status();
  Result<AuditEnd> end = find_audit_end(options.folder);
  if (!end.ok()) return end.status();
  std::unique_ptr<AuditStore> store(new AuditStore(
      options, std::move(taken).value(), std::move(signer).value(), std::move(end).value()));
  if (Status begun = store->start(); !begun.ok()) return begun;
  return store;
}

// Says in the log itself how its end was found, and signs that.
Status AuditStore::start() {
  const bool is_new = end_.log.empty();
  AuditRecord opened{.kind = std::string(audit::kOpen), .role = "server"};
  if (is_new) end_.log = new_log_name();
  opened.details = {{"log", end_.log}, {"key", signer_.fingerprint()}};
  opened.server = options_.server;
  const std::string found = is_new ? "nothing" : end_.closed ? "closed" : "not closed";
  opened.details.push_back({"found", found});
  opened.details.push_back({"unsigned", std::to_string(end_.unsigned_records)});
  std::vector<AuditRecord> records = {opened};
  if (end_.cut_bytes != 0) {
    FARCALL_TRY(move_remains_aside());
    records.push_back({.kind = std::string(audit::kRecovered), .role = "server"});
    records.back().server = options_.server;
    records.back().details = {{"bytes", std::to_string(end_.cut_bytes)},
                              {"at", std::to_string(end_.file_bytes)},
                              {"file", audit_file_name(end_.file_number)}};
    FARCALL_LOG_WARN("audit: %llu byte(s) at the end of %s are no whole record; moved aside",
                     static_cast<unsigned long long>(end_.cut_bytes), path().c_str());
  }
  FARCALL_TRY(open_current());
  std::vector<AuditEntry> entries;
  for (const AuditRecord& each : records) {
    Result<std::string> fields = encode_fields(each);
    if (!fields.ok()) return fields.status();
    entries.push_back({audit_time(now_ns()), std::move(fields).value()});
  }
  return write(entries, "open");
}

Status AuditStore::open_current() {
  auto opened = options_.open_file ? options_.open_file(path()) : open_audit_file(path());
  if (!opened.ok()) return opened.status();
  file_ = std::move(opened).value();
  // What is beyond the last whole record has been moved aside.
  ragged_ = end_.cut_bytes != 0;
  return ok();
}

// Evidence of whatever it was stays, under a name that no reader takes for a file of the log.
Status AuditStore::move_remains_aside() {
  const std::string aside = path() + ".cut-" + std::to_string(end_.file_bytes);
  Fd from(::open(path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  Fd to(::open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!from || !to) return Status::system("move the end of " + path() + " to " + aside);
  auto at = static_cast<off_t>(end_.file_bytes);
  std::array<char, 16 * 1024> room{};
  for (;;) {
    const ssize_t got = ::pread(from.get(), room.data(), room.size(), at);
    if (got == 0) break;
    if (got < 0 || ::write(to.get(), room.data(), static_cast<std::size_t>(got)) != got) {
      return Status::system("move the end of " + path() + " to " + aside);
    }
    at += got;
  }
  return ::fdatasync(to.get()) == 0 ? ok() : Status::system("write " + aside);
}

std::string AuditStore::file_header(AuditPlace* place) const {
  AuditRecord header{.kind = std::string(audit::kFile), .role = "server"};
  header.server = options_.server;
  header.details = {{"log", end_.log},
                    {"previous", audit_file_name(end_.file_number - 1)},
                    {"previous_hash", to_hex(place->before)}};
  return encode_line(audit_time(now_ns()), encode_fields(header).value(), place);
}

Result<std::string> AuditStore::sign(std::string_view why, AuditPlace* place) const {
  AuditRecord checkpoint{.kind = std::string(audit::kCheckpoint), .role = "server"};
  checkpoint.server = options_.server;
  checkpoint.details = {{"log", end_.log},
                        {"reason", std::string(why)},
                        {"previous_hash", to_hex(place->before)},
                        {"key", signer_.fingerprint()}};
  return encode_checkpoint(audit_time(now_ns()), encode_fields(checkpoint).value(), signer_, place);
}

// What came so far is signed in the old file, so that a file that is complete says so.
Status AuditStore::begin_next_file() {
  if (unsigned_records_ != 0) {
    AuditPlace place = end_.place;
    Result<std::string> checkpoint = sign("file", &place);
    if (!checkpoint.ok()) return checkpoint.status();
    FARCALL_TRY(commit(checkpoint.value()));
    end_.place = place;
    checkpoint_ = checkpoint.value();
    unsigned_records_ = 0;
  }
  const std::string next = options_.folder + "/" + audit_file_name(end_.file_number + 1);
  auto opened = options_.open_file ? options_.open_file(next) : open_audit_file(next);
  if (!opened.ok()) return opened.status();
  file_ = std::move(opened).value();
  ++end_.file_number;
  end_.file_bytes = 0;
  return ok();
}

// Appends to the current file; on failure the file is as it was, or will be before the next try.
Status AuditStore::commit(const std::string& text) {
  if (ragged_) FARCALL_TRY(file_->cut(end_.file_bytes));
  ragged_ = true;
  Status done = file_->append(text);
  if (done.ok()) done = file_->sync();
  if (done.ok()) {
    end_.file_bytes += text.size();
    ragged_ = false;
    return done;
  }
  if (file_->cut(end_.file_bytes).ok()) ragged_ = false;
  return done;
}

Status AuditStore::write(std::span<const AuditEntry> entries, std::string_view why) {
  if (end_.file_bytes >= options_.file_bytes_max) FARCALL_TRY(begin_next_file());
  AuditPlace place = end_.place;
  std::string text;
  std::uint64_t unsigned_records = unsigned_records_ + entries.size();
  if (end_.file_bytes == 0 && end_.file_number > 1) {
    text += file_header(&place);
    ++unsigned_records;
  }
  for (const AuditEntry& each : entries) text += encode_line(each.time, each.fields, &place);
  const std::size_t before_checkpoint = text.size();
  if (!why.empty()) {
    Result<std::string> checkpoint = sign(why, &place);
    if (!checkpoint.ok()) return checkpoint.status();
    text += checkpoint.value();
    unsigned_records = 0;
  }
  if (text.empty()) return ok();
  FARCALL_TRY(commit(text));
  end_.place = place;
  unsigned_records_ = unsigned_records;
  if (why.empty()) return ok();
  checkpoint_ = text.substr(before_checkpoint);
  // An older one stays true, so this is no reason to fail.
  Status kept = replace_file(options_.folder + kLatest, bytes_of(checkpoint_), 0600);
  if (!kept.ok()) FARCALL_LOG_WARN("audit: %s", kept.to_string().c_str());
  return ok();
}

}  // namespace farcall::security
