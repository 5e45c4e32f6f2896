// Where a log ends, found again when it is opened.
//
// Only the last file is read: what stands before it is for `farcall audit verify`. What was being
// written when the machine or the process ended may stand there in part; nobody was told that it
// is recorded. Anything else that does not fit is no accident.
#include "security/audit_reader.h"
#include "security/audit_store.h"

namespace farcall::security {
namespace {

Status tampered(const std::string& path, const AuditLines& at, const std::string& what) {
  return {Code::kDenied, path + " is not as it was written: record " + std::to_string(at.number()) +
                             " at byte " + std::to_string(at.offset()) + ": " + what +
                             "; look with 'farcall audit verify', then move the folder away to "
                             "begin a new log"};
}

// The first line of a further file carries the hash it goes on from.
Status begin_from(const AuditLine& first, std::uint64_t number, AuditEnd* end) {
  end->log = std::string(detail(first.record, "log"));
  if (number == 1) return ok();
  Result<AuditHash> before = parse_hash(detail(first.record, "previous_hash"));
  if (!before.ok() || first.record.kind != audit::kFile) {
    return {Code::kMalformed, "it is not the first of a further file"};
  }
  end->place = {first.sequence, before.value()};
  return ok();
}

Status take(const AuditLine& line, AuditEnd* end) {
  if (line.sequence != end->place.sequence) return {Code::kMalformed, "its number is wrong"};
  if (next_hash(end->place.before, line.hashed) != line.hash) {
    return {Code::kMalformed, "its hash is wrong"};
  }
  end->place = {line.sequence + 1, line.hash};
  end->unsigned_records = line.is_checkpoint ? 0 : end->unsigned_records + 1;
  end->closed = line.is_checkpoint && detail(line.record, "reason") == "close";
  return ok();
}

// A write that was cut short has nothing whole behind it.
bool is_last_of_all(AuditLines& lines) {
  while (lines.next()) {
    if (lines.is_whole() && parse_line(lines.text()).ok()) return false;
  }
  return lines.status().ok();
}

Result<AuditEnd> read_file_end(const std::string& folder, std::uint64_t number) {
  const std::string path = folder + "/" + audit_file_name(number);
  Result<AuditLines> lines = AuditLines::open(path);
  if (!lines.ok()) return lines.status();
  AuditEnd end;
  end.file_number = number;
  while (lines->next()) {
    Result<AuditLine> line = parse_line(lines->text());
    Status fits = line.status();
    if (fits.ok() && !lines->is_whole()) fits = Status(Code::kMalformed, "it has no line feed");
    if (fits.ok() && lines->number() == 1) fits = begin_from(line.value(), number, &end);
    if (fits.ok()) fits = take(line.value(), &end);
    if (!fits.ok()) {
      const AuditLines& at = lines.value();
      const Status why = tampered(path, at, fits.text());
      const std::uint64_t from = at.offset();
      if (!is_cut_short(at.text(), at.is_whole())) return why;
      if (!is_last_of_all(lines.value())) return why;
      end.cut_bytes = at.end_offset() - from;
      break;
    }
    end.file_bytes = lines->end_offset();
  }
  if (!lines->status().ok()) return lines->status();
  return end;
}

}  // namespace

Result<AuditEnd> find_audit_end(const std::string& folder) {
  Result<std::vector<std::uint64_t>> files = audit_files(folder);
  if (!files.ok()) return files.status();
  if (files->empty()) return AuditEnd{};
  Result<AuditEnd> last = read_file_end(folder, files->back());
  if (!last.ok() || last->file_bytes != 0 || files->back() == 1) return last;
  // Its header did not get onto the disk.
  Result<AuditEnd> end = read_file_end(folder, files->back() - 1);
  if (!end.ok()) return end;
  if (end->cut_bytes != 0) {
    return Status(Code::kDenied, folder + "/" + audit_file_name(files->back() - 1) +
                                     " does not end in a whole record, and another file follows");
  }
  end->file_number = files->back();
  end->file_bytes = 0;
  end->cut_bytes = last->cut_bytes;
  return end;
}

}  // namespace farcall::security
