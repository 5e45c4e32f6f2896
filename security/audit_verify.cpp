#include "security/audit_verify.h"

#include <map>
#include <optional>

#include "security/audit_file.h"
#include "security/audit_reader.h"
#include "security/crypto.h"

namespace farcall::security {
namespace {

std::string numbered(std::uint64_t from, std::uint64_t to) {
  if (from == to) return "record " + std::to_string(from);
  return "records " + std::to_string(from) + " to " + std::to_string(to);
}

struct Anchor {
  AuditHash hash{};
  std::string log;
};

class Check {
 public:
  Check(const std::string& folder, const AuditVerification& how) : folder_(folder), how_(how) {}
  Result<AuditReport> run();

 private:
  Status add_anchor(const std::string& line, const std::string& whose);
  void add_local_anchor();
  Status check_file(std::uint64_t number, bool is_last);
  // False when it found what ends the check.
  bool check_line(const AuditLines& at, bool is_last);
  bool begin(const AuditLine& line);
  bool accept(const AuditLine& line);
  bool accept_checkpoint(const AuditLine& line);
  bool matches_anchor(const AuditLine& line);
  void classify(const AuditLine& line);
  bool follows(const AuditLine& line) const;
  bool next_follows() const;
  bool stands_later() const;
  void check_end(bool is_taken);
  bool found(AuditFault fault, const std::string& text);

  const std::string& folder_;
  const AuditVerification& how_;
  std::map<std::uint64_t, Anchor> anchors_;
  AuditReport report_;
  AuditPlace place_;
  AuditPosition previous_end_;  // of the file before this one
  std::string log_;
  bool begun_ = false;
  bool closed_ = false;
  std::optional<AuditPosition> torn_;  // where what is no whole record begins
};

bool Check::found(AuditFault fault, const std::string& text) {
  report_.fault = fault;
  report_.text = text;
  report_.at.record = place_.sequence;
  return false;
}

Status Check::add_anchor(const std::string& line, const std::string& whose) {
  std::string_view text = line;
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  Result<AuditLine> anchor = parse_line(text);
  if (!anchor.ok()) return {Code::kMalformed, whose + ": " + anchor.status().text()};
  if (!anchor->is_checkpoint) return {Code::kMalformed, whose + " is no checkpoint"};
  Result<AuditHash> before = parse_hash(detail(anchor->record, "previous_hash"));
  if (!before.ok() || next_hash(before.value(), anchor->hashed) != anchor->hash) {
    return {Code::kMalformed, whose + " is not as it was printed"};
  }
  for (const AuditVerifier& key : *how_.keys) {
    if (!is_signed(anchor.value(), key)) continue;
    anchors_[anchor->sequence] = {anchor->hash, std::string(detail(anchor->record, "log"))};
    return ok();
  }
  return {Code::kMalformed, whose + " is not signed by the key that was given"};
}

// Without one the log itself is checked all the same, and its end is in doubt.
void Check::add_local_anchor() {
  const std::string path = folder_ + "/checkpoint";
  Result<AuditLines> lines = AuditLines::open(path);
  Status added = lines.status();
  if (lines.ok()) {
    added = lines->next() ? add_anchor(std::string(lines->text()), path)
                          : Status(Code::kMalformed, path + " is empty");
  }
  if (!added.ok()) report_.doubt = added.text();
}

bool Check::follows(const AuditLine& line) const {
  return line.sequence == place_.sequence && next_hash(place_.before, line.hashed) == line.hash;
}

// The line behind the one at hand, looked at with eyes of its own.
bool Check::next_follows() const {
  Result<AuditLines> lines = AuditLines::open(folder_ + "/" + report_.at.file);
  if (!lines.ok()) return false;
  while (lines->next() && lines->number() <= report_.at.line) {
  }
  if (lines->number() != report_.at.line + 1) return false;
  Result<AuditLine> line = parse_line(lines->text());
  return line.ok() && follows(line.value());
}

bool Check::stands_later() const {
  Result<AuditLines> lines = AuditLines::open(folder_ + "/" + report_.at.file);
  while (lines.ok() && lines->next()) {
    if (lines->number() <= report_.at.line) continue;
    Result<AuditLine> line = parse_line(lines->text());
    if (line.ok() && follows(line.value())) return true;
  }
  return false;
}

// What happened to a line that does not follow the one before it.
void Check::classify(const AuditLine& line) {
  const std::uint64_t expected = place_.sequence;
  const std::string own = "{\"seq\":" + std::to_string(line.sequence);
  std::string renumbered = "{\"seq\":" + std::to_string(expected);
  renumbered += line.hashed.substr(own.size());
  if (next_hash(place_.before, renumbered) == line.hash) {
    found(AuditFault::kChanged, "its number is " + std::to_string(line.sequence));
  } else if (line.sequence < expected) {
    found(AuditFault::kInserted, "record " + std::to_string(line.sequence) + " once more");
  } else if (line.sequence == expected && next_follows()) {
    found(AuditFault::kInserted, "the record that belongs here comes behind it");
  } else if (line.sequence == expected) {
    found(AuditFault::kChanged, "its hash does not fit its bytes and the record before it");
  } else if (stands_later()) {
    found(AuditFault::kReordered,
          "here is record " + std::to_string(line.sequence) + "; it stands further on");
  } else if (report_.at.line != 1 || previous_end_.line == 0) {
    found(AuditFault::kMissing, numbered(expected, line.sequence - 1) + " are not there");
  } else {
    report_.at = previous_end_;
    found(AuditFault::kTruncated,
          "the file ends here; the next that is there goes on with record " +
              std::to_string(line.sequence));
  }
}

bool Check::begin(const AuditLine& line) {
  begun_ = true;
  log_ = std::string(detail(line.record, "log"));
  report_.first = line.sequence;
  if (line.sequence == 1 || line.record.kind != audit::kFile) return true;
  if (!how_.archived) {
    return found(AuditFault::kMissing, numbered(1, line.sequence - 1) +
                                           " and their files are not there; --archived if they "
                                           "were moved away on purpose");
  }
  Result<AuditHash> before = parse_hash(detail(line.record, "previous_hash"));
  if (!before.ok()) return found(AuditFault::kChanged, "it does not say what it goes on from");
  place_ = {line.sequence, before.value()};
  return true;
}

bool Check::accept_checkpoint(const AuditLine& line) {
  const std::string_view own = detail(line.record, "key");
  const AuditVerifier* key = nullptr;
  for (const AuditVerifier& each : *how_.keys) {
    if (each.fingerprint() == own) key = &each;
  }
  if (key == nullptr) {
    return found(AuditFault::kOtherKey, "a checkpoint of the key " + std::string(own) +
                                            ", whose public half was not given");
  }
  // What is signed names the hash before it: a signature that is moved fits nowhere else.
  if (!is_signed(line, *key) || detail(line.record, "previous_hash") != to_hex(place_.before)) {
    return found(AuditFault::kForged, "the key did not sign this checkpoint: since record " +
                                          std::to_string(report_.signed_until) +
                                          ", the last that is signed, the log "
                                          "was written anew");
  }
  if (detail(line.record, "log") != log_) {
    return found(AuditFault::kInserted, "a checkpoint of another log");
  }
  ++report_.checkpoints;
  report_.signed_until = line.sequence;
  return true;
}

bool Check::matches_anchor(const AuditLine& line) {
  auto at = anchors_.find(line.sequence);
  if (at == anchors_.end() || at->second.hash == line.hash) return true;
  return found(AuditFault::kOtherHistory,
               "a checkpoint that was kept is of another record: up to here, the log was written "
               "anew");
}

bool Check::accept(const AuditLine& line) {
  if (!matches_anchor(line)) return false;
  if (line.is_checkpoint && !accept_checkpoint(line)) return false;
  closed_ = line.is_checkpoint && detail(line.record, "reason") == "close";
  place_ = {line.sequence + 1, line.hash};
  ++report_.records;
  report_.last = line.sequence;
  return true;
}

bool Check::check_line(const AuditLines& at, bool is_last) {
  report_.at.line = at.number();
  report_.at.offset = at.offset();
  if (is_last && is_cut_short(at.text(), at.is_whole())) {
    if (!torn_) torn_ = report_.at;
    report_.remains += at.end_offset() - at.offset();
    return true;
  }
  if (torn_) {
    report_.at = *torn_;
    return found(AuditFault::kChanged, "it is no record, and more follows");
  }
  Result<AuditLine> line = parse_line(at.text());
  if (!line.ok()) {
    return found(next_follows() ? AuditFault::kInserted : AuditFault::kChanged,
                 line.status().text());
  }
  if (!at.is_whole()) return found(AuditFault::kChanged, "it has no line feed");
  if (!begun_ && !begin(line.value())) return false;
  if (follows(line.value())) return accept(line.value());
  classify(line.value());
  return false;
}

Status Check::check_file(std::uint64_t number, bool is_last) {
  const std::string name = audit_file_name(number);
  Result<AuditLines> lines = AuditLines::open(folder_ + "/" + name);
  if (!lines.ok()) return lines.status();
  report_.at = {name, 1, place_.sequence, 0};
  bool goes_on = true;
  while (goes_on && lines->next()) goes_on = check_line(lines.value(), is_last);
  if (!lines->status().ok() || !goes_on) return lines->status();
  report_.at = {name, lines->number() + 1, place_.sequence, lines->end_offset() - report_.remains};
  previous_end_ = report_.at;
  return ok();
}

// What an anchor knows and the log does not have was cut off.
void Check::check_end(bool is_taken) {
  for (const auto& [sequence, anchor] : anchors_) {
    if (sequence <= report_.last) continue;
    found(AuditFault::kTruncated,
          "the log ends here; a checkpoint that was kept says that it went "
          "on to record " +
              std::to_string(sequence));
    return;
  }
  report_.tail = is_taken  ? AuditTail::kRunning
                 : torn_   ? AuditTail::kCrash
                 : closed_ ? AuditTail::kClosed
                           : AuditTail::kUnsigned;
}

Result<AuditReport> Check::run() {
  const bool is_taken = is_audit_folder_taken(folder_);
  // Before the files are listed and read: a server that writes meanwhile goes on from there.
  add_local_anchor();
  Result<std::vector<std::uint64_t>> files = audit_files(folder_);
  if (!files.ok()) return files.status();
  if (files->empty()) {
    return Status(Code::kNotFound,
                  folder_ + " holds no audit log (files named " + audit_file_name(1) + " and on)");
  }
  for (std::size_t i = 0; i < how_.anchors.size(); ++i) {
    Status added = add_anchor(how_.anchors[i], "anchor " + std::to_string(i + 1));
    if (!added.ok()) return added;
  }
  for (std::uint64_t number : files.value()) {
    Status read = check_file(number, number == files->back());
    if (!read.ok()) return read;
    if (report_.fault != AuditFault::kNone) return report_;
  }
  check_end(is_taken);
  return report_;
}

}  // namespace

std::string_view fault_name(AuditFault fault) {
  switch (fault) {
    case AuditFault::kNone: return "none";
    case AuditFault::kChanged: return "changed";
    case AuditFault::kInserted: return "inserted";
    case AuditFault::kMissing: return "missing";
    case AuditFault::kReordered: return "reordered";
    case AuditFault::kTruncated: return "truncated";
    case AuditFault::kForged: return "forged";
    case AuditFault::kOtherKey: return "other key";
    case AuditFault::kOtherHistory: return "other history";
  }
  return "unknown";
}

Result<AuditReport> verify_audit(const std::string& folder, const AuditVerification& how) {
  if (how.keys == nullptr || how.keys->empty()) {
    return Status(Code::kUnsupported, "checking an audit log takes its public key");
  }
  return Check(folder, how).run();
}

}  // namespace farcall::security
