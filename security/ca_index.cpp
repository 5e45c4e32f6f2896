#include "security/ca_index.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>
#include <map>

#include "security/fields.h"
#include "transport/base/limits_identity.h"
#include "transport/base/unique.h"

namespace farcall::security {
namespace {

constexpr std::string_view kFirstLine = "farcall-ca-index 1";
constexpr std::size_t kFields = 7;
constexpr std::string_view kNothing = "-";

const char* word(IndexEvent event) {
  switch (event) {
    case IndexEvent::kIssued: return "issued";
    case IndexEvent::kRenewed: return "renewed";
    case IndexEvent::kRevoked: return "revoked";
  }
  return "";
}

bool parse_event(std::string_view text, IndexEvent* event) {
  for (IndexEvent one : {IndexEvent::kIssued, IndexEvent::kRenewed, IndexEvent::kRevoked}) {
    if (text == word(one)) return *event = one, true;
  }
  return false;
}

std::string time_text(std::int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

// Exactly what time_text() writes, and nothing that means the same.
bool parse_time(std::string_view text, std::int64_t* seconds) {
  int numbers[6] = {};
  constexpr std::size_t kAt[] = {0, 5, 8, 11, 14, 17};
  constexpr std::size_t kDigits[] = {4, 2, 2, 2, 2, 2};
  if (text.size() != 20) return false;
  for (int i = 0; i < 6; ++i) {
    const char* from = text.data() + kAt[i];
    const auto read = std::from_chars(from, from + kDigits[i], numbers[i]);
    if (read.ec != std::errc() || read.ptr != from + kDigits[i]) return false;
  }
  std::tm parts{};
  parts.tm_year = numbers[0] - 1900;
  parts.tm_mon = numbers[1] - 1;
  parts.tm_mday = numbers[2];
  parts.tm_hour = numbers[3];
  parts.tm_min = numbers[4];
  parts.tm_sec = numbers[5];
  *seconds = ::timegm(&parts);
  return time_text(*seconds) == text;
}

bool is_hex(std::string_view text) {
  return !text.empty() && text.size() <= 2 * limits::kSerialBytesMax &&
         text.find_first_not_of("0123456789abcdefABCDEF") == text.npos;
}

bool is_note(std::string_view text) { return text == kNothing || is_identity_word(text); }

bool parse_line(std::string_view text, IndexLine* line) {
  std::array<std::string_view, kFields> fields;
  if (!split_fields(text, fields)) return false;
  const auto& [at, event, serial, issuer, until, uri, note] = fields;
  std::int64_t not_after = 0;
  if (!parse_time(at, &line->at) || !parse_event(event, &line->event) ||
      !parse_time(until, &not_after) || !is_hex(serial) || !is_note(note) ||
      !(issuer == kNothing || is_hex(issuer))) {
    return false;
  }
  Result<PeerIdentity> who = parse_identity_uri(uri);
  if (!who.ok()) return false;
  line->who = std::move(who).value();
  line->who.serial = serial;
  if (issuer != kNothing) line->who.issuer = issuer;
  line->who.not_after = not_after;
  if (note != kNothing) line->note = note;
  return true;
}

Result<std::string> read_text(const Fd& fd, const std::string& path) {
  struct stat facts {};
  if (::fstat(fd.get(), &facts) != 0) return Status::system("stat " + path);
  if (facts.st_size > static_cast<off_t>(limits::kIndexBytesMax)) {
    return Status(Code::kDenied, path + " is longer than an index can be");
  }
  std::string text(static_cast<std::size_t>(facts.st_size), '\0');
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t got = ::read(fd.get(), text.data() + at, text.size() - at);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Status::system("read " + path, got < 0 ? errno : EIO);
    at += static_cast<std::size_t>(got);
  }
  return text;
}

Status write_at_end(const Fd& fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Status::system("write " + path);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return ::fdatasync(fd.get()) == 0 ? ok() : Status::system("sync " + path);
}

}  // namespace

std::string index_line(const IndexLine& line) {
  const auto or_nothing = [](const std::string& text) {
    return text.empty() ? std::string(kNothing) : text;
  };
  return time_text(line.at) + " " + word(line.event) + " " + line.who.serial + " " +
         or_nothing(line.who.issuer) + " " + time_text(line.who.not_after) + " " +
         identity_uri(line.who) + " " + or_nothing(line.note) + "\n";
}

Result<std::vector<IndexLine>> parse_index(std::string_view text) {
  std::vector<IndexLine> lines;
  for (std::size_t number = 1;; ++number) {
    const std::size_t end = text.find('\n');
    if (end == text.npos) return lines;  // what a crash cut short
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    IndexLine parsed;
    const bool good = number == 1 ? line == kFirstLine : parse_line(line, &parsed);
    if (!good) {
      return Status(Code::kDenied, "line " + std::to_string(number) + " of the index is none");
    }
    if (number > 1) lines.push_back(std::move(parsed));
  }
}

Result<std::vector<IndexLine>> read_index(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd && errno == ENOENT) return std::vector<IndexLine>();
  if (!fd) return Status::system("open " + path);
  Result<std::string> text = read_text(fd, path);
  if (!text.ok()) return text.status();
  Result<std::vector<IndexLine>> lines = parse_index(text.value());
  if (lines.ok()) return lines;
  return Status(Code::kDenied, path + ": " + lines.status().text() +
                                   "; somebody wrote to it: take it from a backup");
}

Status append_to_index(const std::string& path, const IndexLine& line) {
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_APPEND | O_NOFOLLOW, 0600));
  if (!fd) return Status::system("open " + path);
  Result<std::string> text = read_text(fd, path);
  if (!text.ok()) return text.status();
  const std::size_t whole = text->rfind('\n') == text->npos ? 0 : text->rfind('\n') + 1;
  if (whole < text->size() && ::ftruncate(fd.get(), static_cast<off_t>(whole)) != 0) {
    return Status::system("shorten " + path);
  }
  std::string more = whole == 0 ? std::string(kFirstLine) + "\n" : "";
  more += index_line(line);
  if (!parse_index(std::string(kFirstLine) + "\n" + index_line(line)).ok()) {
    return {Code::kDenied, "what was to be added to " + path + " is no line of an index"};
  }
  return write_at_end(fd, more, path);
}

const char* word(Standing standing) {
  switch (standing) {
    case Standing::kGood: return "good";
    case Standing::kDue: return "due";
    case Standing::kRenewed: return "renewed";
    case Standing::kExpired: return "expired";
    case Standing::kRevoked: return "revoked";
  }
  return "";
}

std::int64_t due_at(const Issued& one) {
  return one.at == 0 ? 0 : one.at + (one.who.not_after - one.at) / 2;
}

Standing standing_of(const Issued& one, std::int64_t now) {
  if (one.revoked_at != 0) return Standing::kRevoked;
  if (one.who.not_after <= now) return Standing::kExpired;
  if (!one.renewed_by.empty()) return Standing::kRenewed;
  return one.at != 0 && due_at(one) <= now ? Standing::kDue : Standing::kGood;
}

std::vector<Issued> issued_of(const std::vector<IndexLine>& lines) {
  std::vector<Issued> all;
  std::map<std::string, std::size_t> places;  // by serial number, which are random
  const auto place_of = [&](const PeerIdentity& who) {
    const auto [at, fresh] = places.emplace(who.serial, all.size());
    if (fresh) all.emplace_back().who = who;
    return at->second;
  };
  for (const IndexLine& line : lines) {
    const std::size_t at = place_of(line.who);
    switch (line.event) {
      case IndexEvent::kRenewed:
        all[at].renewal = true;
        if (const auto before = places.find(line.note); before != places.end()) {
          all[before->second].renewed_by = line.who.serial;
        }
        all[at].at = line.at;
        break;
      case IndexEvent::kIssued: all[at].at = line.at; break;
      case IndexEvent::kRevoked:
        all[at].revoked_at = line.at;
        all[at].reason = line.note;
        break;
    }
  }
  return all;
}

}  // namespace farcall::security
