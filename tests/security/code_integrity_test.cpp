// Real files in a folder of their own, and a clock that is set.
#include "security/code_integrity.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <fstream>
#include <map>

#include "security/manifest_file.h"
#include "tests/security/lease_issuer.h"

using namespace farcall;
using namespace farcall::security;
using farcall::testing::LeaseIssuer;
using Kind = farcall::security::CodeFinding::Kind;

namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr std::int64_t kDayS = 86'400;

// The system's, later by as much as is set, and with fs-verity where a test says so.
class TestEye final : public FileEye {
 public:
  Result<FileState> look(const std::string& path) const override { return system_eye().look(path); }
  Result<HashedFile> hash(const std::string& path) const override {
    return system_eye().hash(path);
  }
  std::optional<FileDigest> verity(const std::string& path) const override {
    const auto known = verities.find(path);
    return known == verities.end() ? std::nullopt : std::optional(known->second);
  }
  std::int64_t now_ns() const override { return system_eye().now_ns() + ahead_s * kSecondNs; }
  std::int64_t now_s() const { return now_ns() / kSecondNs; }

  std::int64_t ahead_s = 60;  // all that is there has settled
  std::map<std::string, FileDigest> verities;
};

// Two files of 1000 and 2000 bytes, a manifest of them, and who signs.
class Machine {
 public:
  Machine() {
    const std::string real = std::filesystem::canonical(signer_.folder()).string();
    worker = real + "/worker";
    library = real + "/library.so";
    write(worker, std::string(1000, 'w'));
    write(library, std::string(2000, 'l'));
    manifest = describe();
    put(manifest, signer_.key());
  }
  static void write(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
  }
  static CodeFile entry(const std::string& path) {
    const HashedFile hashed = system_eye().hash(path).value();
    CodeFile file;
    file.path = path;
    file.bytes = hashed.state.bytes;
    file.sha256 = hashed.sha256;
    return file;
  }
  Manifest describe() const {
    Manifest now{.made = eye.now_s(), .until = 0, .name = "", .files = {}};
    now.add(entry(worker));
    now.add(entry(library));
    return now;
  }
  void put(const Manifest& what, const LeaseKey& key) const {
    Cosigned text{.body = encode(what).value(), .signatures = {}};
    REQUIRE(cosign(kManifestLabel, key, &text).ok());
    REQUIRE(save_manifest(text, path("manifest")).ok());
  }
  // What is in the file now, for a day.
  void approve(const std::string& file) const {
    const CodeFile now = entry(file);
    Approval one;
    one.path = file;
    one.bytes = now.bytes;
    one.sha256 = now.sha256;
    one.made = eye.now_s();
    one.until = one.made + kDayS;
    one.owner = "ana";
    one.reason = "an upgrade";
    Cosigned text{.body = encode(one).value(), .signatures = {}};
    REQUIRE(cosign(kApprovalLabel, signer_.key(), &text).ok());
    REQUIRE(save_approvals({text}, path("approvals")).ok());
  }
  CodeOptions options() const {
    CodeOptions o;
    o.manifest = path("manifest");
    o.keys = path("lease.pub");
    o.approvals = path("approvals");
    o.cache = path("cache");
    return o;
  }
  std::unique_ptr<CodeIntegrity> open(const CodeOptions& o) const {
    auto code = CodeIntegrity::open(o, eye);
    REQUIRE_MESSAGE(code.ok(), code.status().to_string());
    return std::move(code).value();
  }
  std::unique_ptr<CodeIntegrity> open() const { return open(options()); }
  std::string path(const std::string& name) const { return signer_.path(name); }
  const LeaseKey& key() const { return signer_.key(); }

  TestEye eye;
  std::string worker, library;
  Manifest manifest;

 private:
  LeaseIssuer signer_;
};

void flip_a_byte(const std::string& path) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(500);
  file.put('!');
}

}  // namespace

TEST_CASE("what has not changed is hashed once, and not again after a restart") {
  Machine machine;
  {
    auto code = machine.open();
    CHECK(code->look().hashed == 3000);
    CHECK(code->look().hashed == 0);
    REQUIRE(code->save().ok());
  }
  auto code = machine.open();
  CHECK(code->cache_status().ok());
  const CodeVerdict again = code->look();
  CHECK(again.fine());
  CHECK(again.hashed == 0);
  CHECK(again.files == 2);
}

TEST_CASE("a cache that somebody edited, or of another boot, counts for nothing") {
  Machine machine;
  {
    auto code = machine.open();
    (void)code->look();
    REQUIRE(code->save().ok());
  }
  struct stat facts {};
  REQUIRE(::stat(machine.path("cache/measured.key").c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777) == 0600);
  // The hash of what somebody put there, in the place of the right one.
  flip_a_byte(machine.library);
  const std::string path = machine.path("cache/measured");
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(60);
  file.put('!');
  file.close();
  auto code = machine.open();
  CHECK(code->cache_status().code() == Code::kDenied);
  const CodeVerdict verdict = code->look();
  CHECK(verdict.hashed == 3000);
  CHECK_FALSE(verdict.fine());
  const MeasuredByPath files = {{"/a", {.state = {}, .sha256 = {}, .settled = true}}};
  CHECK(read_measured(encode(files, "one"), "one").value() == files);
  CHECK(read_measured(encode(files, "one"), "another").status().code() == Code::kDenied);
}

TEST_CASE("a file that was touched or replaced by its like is hashed, and nothing is refused") {
  Machine machine;
  auto code = machine.open();
  const CodeVerdict first = code->look();
  const timespec times[2] = {{1'700'000'000, 0}, {1'700'000'000, 0}};
  REQUIRE(::utimensat(AT_FDCWD, machine.worker.c_str(), times, 0) == 0);
  const CodeVerdict touched = code->look();
  CHECK(touched.fine());
  CHECK(touched.hashed == 1000);
  CHECK(touched.changes > first.changes);
  std::filesystem::copy_file(machine.library, machine.path("copy"));
  std::filesystem::rename(machine.path("copy"), machine.library);
  const CodeVerdict replaced = code->look();
  CHECK(replaced.fine());
  CHECK(replaced.hashed == 2000);
  CHECK(code->look().hashed == 0);
}

TEST_CASE("a flipped byte is found with both hashes, and gone when the file is restored") {
  Machine machine;
  auto code = machine.open();
  REQUIRE(code->look().fine());
  flip_a_byte(machine.worker);
  const CodeVerdict verdict = code->look();
  REQUIRE(verdict.findings.size() == 1);
  const CodeFinding& finding = verdict.findings[0];
  CHECK(finding.kind == Kind::kChanged);
  CHECK(finding.path == machine.worker);
  CHECK(finding.expected == machine.manifest.find(machine.worker)->sha256);
  CHECK(finding.found == Machine::entry(machine.worker).sha256);
  CHECK(finding.text().find("the manifest says") != std::string::npos);
  CHECK(code->look().hashed == 0);  // known to be wrong
  Machine::write(machine.worker, std::string(1000, 'w'));
  CHECK(code->look().fine());
}

TEST_CASE("what was just written is hashed until the file system's clock has gone on") {
  Machine machine;
  machine.eye.ahead_s = 0;
  Machine::write(machine.worker, std::string(1000, 'w'));
  auto code = machine.open();
  CHECK(code->look().hashed >= 1000);
  CHECK(code->look().hashed >= 1000);
  machine.eye.ahead_s = 60;
  CHECK(code->look().hashed >= 1000);
  CHECK(code->look().hashed == 0);
}

TEST_CASE("a link, a folder or nothing in the place of a file is found") {
  Machine machine;
  auto code = machine.open();
  REQUIRE(code->look().fine());
  std::filesystem::rename(machine.library, machine.path("moved"));
  CHECK(code->look().findings.at(0).kind == Kind::kGone);
  std::filesystem::create_symlink(machine.path("moved"), machine.library);
  const CodeVerdict linked = code->look();
  CHECK(linked.findings.at(0).kind == Kind::kUnreadable);
  CHECK(linked.findings.at(0).text().find("is a symbolic link now") != std::string::npos);
  std::filesystem::remove(machine.library);
  std::filesystem::create_directory(machine.library);
  CHECK(code->look().findings.at(0).kind == Kind::kUnreadable);
}

TEST_CASE("an approval covers just these bytes, until it expires") {
  Machine machine;
  auto code = machine.open();
  flip_a_byte(machine.library);
  CHECK_FALSE(code->look().fine());
  machine.approve(machine.library);
  bool changed = false;
  REQUIRE(code->reload(&changed).ok());
  CHECK(changed);
  CodeVerdict verdict = code->look();
  CHECK(verdict.fine());
  CHECK(verdict.approved.at(0).owner == "ana");
  CHECK(code->approvals() == 1);
  machine.eye.ahead_s += kDayS;
  verdict = code->look();
  CHECK_FALSE(verdict.fine());
  CHECK(code->approvals() == 0);
  machine.eye.ahead_s -= kDayS;
  CHECK(code->look().fine());
  Machine::write(machine.library, std::string(2000, 'x'));
  CHECK_FALSE(code->look().fine());
}

TEST_CASE("a worse manifest changes nothing, a better one does, and one past its date refuses") {
  Machine machine;
  const LeaseIssuer stranger;
  auto code = machine.open();
  const FileDigest before = code->digest();
  bool changed = false;
  REQUIRE(code->reload(&changed).ok());
  CHECK_FALSE(changed);
  machine.put(machine.manifest, stranger.key());
  CHECK(code->reload(&changed).code() == Code::kDenied);
  CHECK_FALSE(changed);
  CHECK(CodeIntegrity::open(machine.options(), machine.eye).status().code() == Code::kDenied);
  CHECK(code->look().fine());
  flip_a_byte(machine.worker);
  Manifest next = machine.describe();
  next.until = next.made + kDayS;
  machine.put(next, machine.key());
  REQUIRE(code->reload(&changed).ok());
  CHECK(changed);
  CHECK(code->digest() != before);
  CHECK(code->look().fine());
  machine.eye.ahead_s += kDayS;
  CHECK(code->look().findings.at(0).kind == Kind::kManifest);
}

TEST_CASE("what is loaded and not listed is refused, told of, or approved") {
  Machine machine;
  const std::string extra = machine.worker + "-extra.so";
  Machine::write(extra, "code");
  const std::string loaded[] = {machine.worker, extra};
  auto code = machine.open();
  const CodeVerdict verdict = code->look(loaded);
  REQUIRE(verdict.findings.size() == 1);
  CHECK(verdict.findings[0].kind == Kind::kUnlisted);
  CHECK(verdict.findings[0].found == Machine::entry(extra).sha256);
  CodeOptions told = machine.options();
  told.refuse_unlisted = false;
  const CodeVerdict only_told = machine.open(told)->look(loaded);
  CHECK(only_told.fine());
  CHECK(only_told.unlisted.size() == 1);
  machine.approve(extra);
  CHECK(machine.open()->look(loaded).fine());
}

TEST_CASE("a file of fs-verity that the manifest names is never read") {
  Machine machine;
  const FileDigest digest{std::byte{7}};
  machine.eye.verities[machine.library] = digest;
  CodeFile listed = *machine.manifest.find(machine.library);
  listed.verity = digest;
  machine.manifest.add(listed);
  machine.put(machine.manifest, machine.key());
  auto code = machine.open();
  CHECK(code->look().hashed == 1000);
  // Another kernel's digest, or none: its bytes count.
  machine.eye.verities[machine.library] = FileDigest{std::byte{8}};
  flip_a_byte(machine.library);
  const CodeVerdict verdict = code->look();
  CHECK(verdict.hashed == 2000);
  CHECK_FALSE(verdict.fine());
}

TEST_CASE("what is executed is what was hashed, whatever stands at its path") {
  Machine machine;
  auto code = machine.open();
  REQUIRE(code->look().fine());
  CHECK(code->open_measured(machine.worker).ok());
  std::filesystem::copy_file(machine.worker, machine.path("copy"));
  std::filesystem::rename(machine.path("copy"), machine.worker);
  CHECK(code->open_measured(machine.worker).status().code() == Code::kBusy);
}
