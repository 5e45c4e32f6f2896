// What a tamperer does to a log, and that it is found where he did it.
#include "security/audit_verify.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "security/crypto.h"
#include "tests/security/audit_folder.h"

namespace farcall::security {
namespace {

using farcall::testing::AuditFolder;

// Several files and checkpoints in the middle.
AuditOptions several_files(AuditFolder& folder) {
  AuditOptions options = folder.options();
  options.file_bytes_max = 2'500;
  options.checkpoint_records = 3;
  return options;
}

// What somebody can do who has no key: compute the chain anew.
std::vector<std::string> chained_anew(std::vector<std::string> lines) {
  AuditHash before{};
  for (std::string& each : lines) {
    const std::size_t end = each.rfind(",\"hash\":\"");
    before = next_hash(before, each.substr(0, end));
    each = each.substr(0, end) + ",\"hash\":\"" + to_hex(before) + "\"}\n";
  }
  return lines;
}

void replace(std::string* text, const std::string& from, const std::string& to) {
  const std::size_t at = text->find(from);
  REQUIRE(at != std::string::npos);
  text->replace(at, from.size(), to);
}

TEST_CASE("a log as it was written is whole and closed") {
  AuditFolder folder;
  AuditFolder::fill(8, several_files(folder));
  const AuditReport report = folder.verify();
  CHECK_MESSAGE(report.fault == AuditFault::kNone, report.text);
  CHECK(report.tail == AuditTail::kClosed);
  CHECK(report.signed_until == report.last);
  CHECK(report.at.file == "audit-000003.log");
  CHECK(report.doubt.empty());
  // Another start goes on with it.
  AuditFolder::fill(2, several_files(folder));
  CHECK(folder.verify().last > report.last + 2);
}

TEST_CASE("every byte that is changed is found, in its line") {
  AuditFolder folder;
  AuditFolder::fill(4, several_files(folder));
  const std::uint64_t files = audit_files(folder.path())->size();
  REQUIRE(files >= 2);
  for (std::uint64_t number = 1; number <= files; ++number) {
    const std::string text = folder.read(number);
    for (std::size_t at = 0; at < text.size(); ++at) {
      folder.flip(number, at);
      const AuditReport report = folder.verify();
      const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<long>(at), '\n');
      CAPTURE(number);
      CAPTURE(at);
      CAPTURE(report.text);
      REQUIRE(report.fault == AuditFault::kChanged);
      REQUIRE(report.at.file == audit_file_name(number));
      REQUIRE(report.at.line == static_cast<std::uint64_t>(line));
      const std::size_t feed = text.rfind('\n', at == 0 ? 0 : at - 1);
      REQUIRE(report.at.offset == (feed == std::string::npos || line == 1 ? 0 : feed + 1));
      folder.flip(number, at);
    }
  }
  CHECK(folder.verify().fault == AuditFault::kNone);
}

TEST_CASE("a dropped, a repeated, an invented and a moved record are found where they were") {
  AuditFolder folder;
  folder.fill(8);
  const std::vector<std::string> lines = folder.lines();
  for (std::size_t i = 0; i + 1 < lines.size(); ++i) {
    CAPTURE(i);
    auto changed = lines;
    changed.erase(changed.begin() + static_cast<long>(i));
    folder.write(1, changed);
    CHECK(folder.verify().fault == AuditFault::kMissing);
    CHECK(folder.verify().at.line == i + 1);
    CHECK(folder.verify().at.record == i + 1);

    changed = lines;
    changed.insert(changed.begin() + static_cast<long>(i) + 1, lines[i]);
    folder.write(1, changed);
    CHECK(folder.verify().fault == AuditFault::kInserted);
    CHECK(folder.verify().at.line == i + 2);

    changed = lines;
    std::string invented = lines[i];
    replace(&invented, "\"outcome\":\"ok\"", "\"outcome\":\"failed\"");
    changed.insert(changed.begin() + static_cast<long>(i), invented);
    folder.write(1, changed);
    CHECK(folder.verify().fault == AuditFault::kInserted);
    CHECK(folder.verify().at.line == i + 1);

    changed = lines;
    std::swap(changed[i], changed[i + 1]);
    folder.write(1, changed);
    CHECK(folder.verify().fault == AuditFault::kReordered);
    CHECK(folder.verify().at.line == i + 1);
  }
}

TEST_CASE("an end that was cut off is told from one that a crash left") {
  AuditFolder folder;
  folder.fill(4);
  const std::string text = folder.read();
  // The checkpoint beside the log knows how far it went.
  for (std::size_t bytes = 0; bytes < text.size(); bytes += 41) {
    CAPTURE(bytes);
    folder.write(1, text.substr(0, bytes));
    const AuditReport report = folder.verify();
    REQUIRE(report.fault == AuditFault::kTruncated);
    const auto lines = std::count(text.begin(), text.begin() + static_cast<long>(bytes), '\n');
    CHECK(report.at.record == static_cast<std::uint64_t>(lines) + 1);
  }
  // As after a kill: the last checkpoint is the one at the start.
  AuditFolder other;
  auto log = other.open();
  const std::string kept = AuditFolder::read_path(other.path() + "/checkpoint");
  for (int i = 0; i < 3; ++i) REQUIRE(log->record(AuditFolder::session("ann")).ok());
  CHECK(other.verify().tail == AuditTail::kRunning);
  const std::string open = other.read();
  log.reset();
  AuditFolder::write_path(other.path() + "/checkpoint", kept);
  other.write(1, open);
  CHECK(other.verify().fault == AuditFault::kNone);
  CHECK(other.verify().tail == AuditTail::kUnsigned);
  CHECK(other.verify().last == 5);
  CHECK(other.verify().signed_until == 2);
  other.write(1, open.substr(0, open.size() - 10));
  CHECK(other.verify().fault == AuditFault::kNone);
  CHECK(other.verify().tail == AuditTail::kCrash);
  CHECK(other.verify().last == 4);
  CHECK(other.verify().remains > 100);
  other.write(1, open.substr(0, open.size() - 10) + std::string(5000, '\0'));
  CHECK(other.verify().tail == AuditTail::kCrash);
  // Zeros in the middle are no crash.
  std::string zeroed = open;
  zeroed.replace(600, 20, 20, '\0');
  other.write(1, zeroed);
  CHECK(other.verify().fault == AuditFault::kChanged);
}

TEST_CASE("without the checkpoint beside it, a log's end is in doubt") {
  AuditFolder folder;
  folder.fill(4);
  auto lines = folder.lines();
  lines.resize(lines.size() - 2);
  folder.write(1, lines);
  std::filesystem::remove(folder.path() + "/checkpoint");
  CHECK(folder.verify().fault == AuditFault::kNone);
  CHECK(folder.verify().tail == AuditTail::kUnsigned);
  CHECK_FALSE(folder.verify().doubt.empty());
  AuditFolder::write_path(folder.path() + "/checkpoint", "nonsense\n");
  CHECK_FALSE(folder.verify().doubt.empty());
}

TEST_CASE("files that are gone are missed, and only the first may be moved away") {
  AuditFolder folder;
  AuditFolder::fill(20, several_files(folder));
  const std::uint64_t files = audit_files(folder.path())->size();
  REQUIRE(files >= 4);
  for (std::uint64_t gone : {std::uint64_t{2}, files}) {
    const std::string text = folder.read(gone);
    std::filesystem::remove(folder.file(gone));
    const AuditReport report = folder.verify();
    CHECK(report.fault == AuditFault::kTruncated);
    CHECK(report.at.file == audit_file_name(gone - 1));
    CHECK(folder.verify(true).fault == AuditFault::kTruncated);
    folder.write(gone, text);
  }
  std::filesystem::remove(folder.file(1));
  CHECK(folder.verify().fault == AuditFault::kMissing);
  CHECK(folder.verify().at.record == 1);
  CHECK(folder.verify(true).fault == AuditFault::kNone);
  CHECK(folder.verify(true).first > 1);
}

TEST_CASE("a history computed anew without the key is a forgery") {
  AuditFolder folder;
  AuditOptions options = folder.options();
  options.checkpoint_records = 4;
  AuditFolder::fill(10, options);
  std::vector<std::string> lines = folder.lines();
  const auto is_checkpoint = [](const std::string& line) {
    return line.find("audit.checkpoint") != std::string::npos;
  };
  std::string* victim = &*std::find_if(lines.begin(), lines.end(), [](const std::string& line) {
    return line.find("user5") != std::string::npos;
  });
  const auto changed_at = static_cast<std::size_t>(victim - lines.data());
  replace(victim, "user5", "user7");
  folder.write(1, chained_anew(lines));
  const AuditReport report = folder.verify();
  CHECK(report.fault == AuditFault::kForged);
  const auto next =
      std::find_if(lines.begin() + static_cast<long>(changed_at), lines.end(), is_checkpoint);
  CHECK(report.at.line == static_cast<std::uint64_t>(next - lines.begin()) + 1);
  CHECK(report.signed_until <= changed_at);
}

TEST_CASE("another key's checkpoints are not this log's") {
  AuditFolder folder;
  folder.fill(3);
  REQUIRE(make_audit_key(folder.base("other")).ok());
  const AuditReport report = folder.verify_with(folder.base("other.pub"));
  CHECK(report.fault == AuditFault::kOtherKey);
  CHECK(report.at.line == 2);
}

TEST_CASE("an anchor kept elsewhere finds a history that was written anew with the key") {
  AuditFolder folder;
  folder.fill(3);
  const std::string anchor = AuditFolder::read_path(folder.path() + "/checkpoint");
  CHECK(folder.verify(false, {anchor}).fault == AuditFault::kNone);
  // The log goes on: still the same.
  folder.fill(3);
  CHECK(folder.verify(false, {anchor}).fault == AuditFault::kNone);
  // All of it away, and a new one in its place, with the same key.
  std::filesystem::remove(folder.file(1));
  std::filesystem::remove(folder.path() + "/checkpoint");
  folder.fill(9);
  CHECK(folder.verify().fault == AuditFault::kNone);
  const AuditReport report = folder.verify(false, {anchor});
  CHECK(report.fault == AuditFault::kOtherHistory);
  // And a shorter one.
  std::filesystem::remove(folder.file(1));
  std::filesystem::remove(folder.path() + "/checkpoint");
  folder.fill(0);
  CHECK(folder.verify(false, {anchor}).fault == AuditFault::kTruncated);
}

TEST_CASE("what is no anchor is refused") {
  AuditFolder folder;
  folder.fill(3);
  std::vector<AuditVerifier> keys;
  keys.push_back(AuditVerifier::load(folder.path() + "/audit.pub").value());
  std::string changed = AuditFolder::read_path(folder.path() + "/checkpoint");
  replace(&changed, "close", "clone");
  for (const std::string& line : {folder.lines()[0], changed, std::string("nonsense")}) {
    auto report = verify_audit(folder.path(), {.keys = &keys, .anchors = {line}});
    CHECK(report.status().code() == Code::kMalformed);
  }
  CHECK(verify_audit(folder.base("nowhere"), {.keys = &keys}).status().code() == Code::kNotFound);
}

}  // namespace
}  // namespace farcall::security
