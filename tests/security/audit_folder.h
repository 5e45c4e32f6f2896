// AuditFolder: a folder for an audit log, gone when it dies, with a clock of its own, and what a
// tamperer does to files.
//
//   AuditFolder folder;
//   auto log = folder.open();  log->record(folder.session("ann"));  log.reset();
//   folder.write(1, changed(folder.read(1)));
//   CHECK(folder.verify().fault == AuditFault::kChanged);
//
// Threads: one; the clock may be read by any.
#pragma once
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "security/audit.h"
#include "security/audit_file.h"
#include "security/audit_key.h"
#include "security/audit_verify.h"

namespace farcall::testing {

class AuditFolder {
 public:
  AuditFolder() {
    std::array<char, 64> pattern{"/tmp/farcall-audit-XXXXXX"};
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    base_ = pattern.data();
    path_ = base_ + "/audit";
  }
  ~AuditFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(base_, ignored);
  }
  AuditFolder(const AuditFolder&) = delete;
  AuditFolder& operator=(const AuditFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string base(const std::string& name) const { return base_ + "/" + name; }

  security::AuditOptions options() {
    security::AuditOptions options{.folder = path_, .server = "gpu1"};
    options.now_ns = [this] { return now_ns_ += 1'000'000; };
    options.checkpoint_ms = 3'600'000;
    return options;
  }
  std::unique_ptr<security::AuditLog> open() { return open(options()); }
  static std::unique_ptr<security::AuditLog> open(const security::AuditOptions& options) {
    auto log = security::AuditLog::open(options);
    REQUIRE_MESSAGE(log.ok(), log.status().to_string());
    return std::move(log).value();
  }

  static security::AuditRecord session(const std::string& user) {
    security::AuditRecord record{.kind = std::string(security::audit::kSessionStart)};
    record.role = "user";
    record.principal = "spiffe://lab/tenant/acme/user/" + user;
    record.tenant = "acme";
    record.details = {{"from", "10.0.0.7:4711"}};
    return record;
  }
  // A log of `sessions` records, closed.
  void fill(int sessions) { fill(sessions, options()); }
  static void fill(int sessions, const security::AuditOptions& options) {
    auto log = open(options);
    for (int i = 0; i < sessions; ++i) {
      REQUIRE(log->record(session("user" + std::to_string(i))).ok());
    }
  }

  std::string file(std::uint64_t number) const {
    return path_ + "/" + security::audit_file_name(number);
  }
  std::string read(std::uint64_t number = 1) const { return read_path(file(number)); }
  static std::string read_path(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(std::uint64_t number, const std::string& text) const {
    write_path(file(number), text);
  }
  static void write_path(const std::string& path, const std::string& text) {
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out << text;
  }
  // One bit of one byte, in place.
  void flip(std::uint64_t number, std::size_t at) const {
    std::fstream both(file(number), std::ios::binary | std::ios::in | std::ios::out);
    both.seekg(static_cast<std::streamoff>(at));
    const int byte = both.get();
    both.seekp(static_cast<std::streamoff>(at));
    both.put(static_cast<char>(byte ^ 1));
  }
  // With their line feeds.
  std::vector<std::string> lines(std::uint64_t number = 1) const {
    std::vector<std::string> all;
    const std::string text = read(number);
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = text.find('\n', at);
      all.push_back(text.substr(at, end == std::string::npos ? end : end + 1 - at));
      at += all.back().size();
    }
    return all;
  }
  void write(std::uint64_t number, const std::vector<std::string>& lines) const {
    std::string text;
    for (const std::string& each : lines) text += each;
    write(number, text);
  }

  security::AuditReport verify(bool archived = false, std::vector<std::string> anchors = {}) const {
    return verify_with(path_ + "/audit.pub", archived, std::move(anchors));
  }
  security::AuditReport verify_with(const std::string& key, bool archived = false,
                                    std::vector<std::string> anchors = {}) const {
    std::vector<security::AuditVerifier> keys;
    auto loaded = security::AuditVerifier::load(key);
    REQUIRE_MESSAGE(loaded.ok(), loaded.status().to_string());
    keys.push_back(std::move(loaded).value());
    auto report = security::verify_audit(
        path_, {.keys = &keys, .anchors = std::move(anchors), .archived = archived});
    REQUIRE_MESSAGE(report.ok(), report.status().to_string());
    return report.value();
  }

 private:
  std::string base_;
  std::string path_;
  std::atomic<std::int64_t> now_ns_{1'795'000'000'000'000'000};
};

}  // namespace farcall::testing
