#include "security/audit_line.h"

#include <openssl/evp.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ctime>

#include "security/crypto.h"
#include "transport/base/check.h"

namespace farcall::security {
namespace {

constexpr std::string_view kHeading = "farcall audit checkpoint 1\n";
constexpr std::string_view kHashKey = ",\"hash\":\"";
constexpr std::string_view kSignatureKey = ",\"signature\":\"";
constexpr std::string_view kDigits = "0123456789abcdef";
constexpr AuditOutcome kOutcomes[] = {AuditOutcome::kOk, AuditOutcome::kRefused,
                                      AuditOutcome::kFailed};
constexpr std::size_t kTimeBytes = 30;

// Kinds, roles and names of details are ours, never a peer's; so is an empty role.
bool is_name(std::string_view word) {
  return !word.empty() && word.size() <= limits::kAuditNameBytesMax &&
         std::all_of(word.begin(), word.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
                  c == '-';
         });
}

bool stands_for_itself(unsigned char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; }

void add_string(std::string* to, std::string_view value) {
  *to += '"';
  for (char c : value.substr(0, limits::kAuditValueBytesMax)) {
    const auto byte = static_cast<unsigned char>(c);
    if (stands_for_itself(byte)) {
      *to += c;
    } else if (c == '"' || c == '\\') {
      *to += '\\';
      *to += c;
    } else {
      *to += "\\u00";
      *to += kDigits[byte >> 4];
      *to += kDigits[byte & 15];
    }
  }
  *to += '"';
}

void add_field(std::string* to, std::string_view name, std::string_view value) {
  *to += ",\"";
  *to += name;
  *to += "\":";
  add_string(to, value);
}

std::string head(std::uint64_t sequence, const std::string& time) {
  return "{\"seq\":" + std::to_string(sequence) + ",\"time\":\"" + time + "\"";
}

std::string finish(std::string line, AuditPlace* place) {
  place->before = next_hash(place->before, line);
  ++place->sequence;
  line += kHashKey;
  line += to_hex(place->before);
  line += "\"}\n";
  return line;
}

// A line, read from the left. A part that is not as it must be makes all later ones fail.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  void skip(std::string_view expected) {
    const std::string_view rest = text_.substr(at_);
    if (!rest.starts_with(expected)) {
      if (expected.starts_with(rest)) return fail_at_end();
      return fail("expected " + std::string(expected));
    }
    at_ += expected.size();
  }
  std::uint64_t number() {
    std::uint64_t value = 0;
    if (at_ == text_.size()) fail_at_end();
    if (failed()) return 0;
    const char* from = text_.data() + at_;
    auto [end, error] = std::from_chars(from, text_.data() + text_.size(), value);
    if (error != std::errc() || value == 0 || *from == '0') fail("expected a number from 1 on");
    if (failed()) return 0;
    at_ += static_cast<std::size_t>(end - from);
    return value;
  }
  std::string string() {
    std::string value;
    skip("\"");
    while (!failed()) {
      if (at_ == text_.size()) break;
      const auto byte = static_cast<unsigned char>(text_[at_]);
      if (byte == '"') break;
      value += byte == '\\' ? escaped() : plain(byte);
      if (value.size() > limits::kAuditValueBytesMax) fail("a value is too long");
    }
    skip("\"");
    return value;
  }
  std::string field(std::string_view name) {
    skip(",\"");
    skip(name);
    skip("\":");
    return string();
  }
  void hexadecimal(std::span<std::byte> out) {
    for (std::byte& byte : out) byte = static_cast<std::byte>(16 * digit() + digit());
  }
  bool next_is(std::string_view expected) const {
    return !failed() && text_.substr(at_).starts_with(expected);
  }
  void fail(const std::string& why) {
    if (why_.empty()) why_ = why + " at byte " + std::to_string(at_);
  }
  bool failed() const { return !why_.empty(); }
  bool ended_early() const { return ended_early_; }
  std::string_view so_far() const { return text_.substr(0, at_); }
  Status status() {
    if (!failed() && at_ != text_.size()) fail("expected the end");
    return failed() ? Status(Code::kMalformed, why_) : ok();
  }

 private:
  void fail_at_end() {
    if (!failed()) ended_early_ = true;
    fail("it ends too early");
  }
  char plain(unsigned char byte) {
    if (!stands_for_itself(byte)) fail("a byte that must be escaped");
    ++at_;
    return static_cast<char>(byte);
  }
  char escaped() {
    ++at_;
    if (next_is("\"") || next_is("\\")) return text_[at_++];
    skip("u00");
    const unsigned value = 16 * digit() + digit();
    const auto byte = static_cast<unsigned char>(value);
    if (!failed() && (stands_for_itself(byte) || byte == '"' || byte == '\\')) {
      fail("an escape that need not be");
    }
    return static_cast<char>(byte);
  }
  unsigned digit() {
    if (at_ == text_.size()) fail_at_end();
    if (failed()) return 0;
    const std::size_t value = kDigits.find(text_[at_]);
    if (value == std::string_view::npos) fail("expected a hexadecimal digit");
    if (failed()) return 0;
    ++at_;
    return static_cast<unsigned>(value);
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::string why_;
  bool ended_early_ = false;
};

AuditOutcome read_outcome(Reader& in) {
  const std::string word = in.field("outcome");
  for (AuditOutcome each : kOutcomes) {
    if (outcome_name(each) == word) return each;
  }
  in.fail("an outcome nobody knows");
  return AuditOutcome::kOk;
}

void read_details(Reader& in, std::vector<AuditDetail>* details) {
  in.skip(",\"details\":{");
  while (in.next_is("\"") || (!details->empty() && in.next_is(","))) {
    if (details->size() == limits::kAuditDetailsMax) return in.fail("too many details");
    if (!details->empty()) in.skip(",");
    AuditDetail& next = details->emplace_back();
    next.name = in.string();
    if (!is_name(next.name)) in.fail("a detail's name that must not be");
    in.skip(":");
    next.value = in.string();
  }
  in.skip("}");
}

bool is_time(std::string_view text) {
  constexpr std::string_view kShape = "dddd-dd-ddTdd:dd:dd.dddddddddZ";
  static_assert(kShape.size() == kTimeBytes);
  if (text.size() != kShape.size()) return false;
  for (std::size_t i = 0; i < kShape.size(); ++i) {
    const bool is_digit = text[i] >= '0' && text[i] <= '9';
    if (kShape[i] == 'd' ? !is_digit : text[i] != kShape[i]) return false;
  }
  return true;
}

AuditLine read_line(Reader& in) {
  AuditLine line;
  in.skip("{\"seq\":");
  line.sequence = in.number();
  line.time = in.field("time");
  if (!is_time(line.time)) in.fail("expected a time");
  AuditRecord& record = line.record;
  record.kind = in.field("kind");
  record.outcome = read_outcome(in);
  record.role = in.field("role");
  if (!is_name(record.kind) || !(record.role.empty() || is_name(record.role))) {
    in.fail("a kind or role that must not be");
  }
  record.principal = in.field("principal");
  record.tenant = in.field("tenant");
  record.lease = in.field("lease");
  record.server = in.field("server");
  read_details(in, &record.details);
  line.is_checkpoint = record.kind == audit::kCheckpoint;
  if (line.is_checkpoint) {
    line.signed_text = in.so_far();
    in.skip(kSignatureKey);
    in.hexadecimal(line.signature);
    in.skip("\"");
  }
  line.hashed = in.so_far();
  in.skip(kHashKey);
  in.hexadecimal(line.hash);
  in.skip("\"}");
  return line;
}

}  // namespace

std::string_view outcome_name(AuditOutcome outcome) {
  switch (outcome) {
    case AuditOutcome::kOk: return "ok";
    case AuditOutcome::kRefused: return "refused";
    case AuditOutcome::kFailed: return "failed";
  }
  return "failed";
}

std::string audit_time(std::int64_t unix_ns) {
  const std::int64_t ns = std::max<std::int64_t>(unix_ns, 0);
  const std::time_t seconds = ns / 1'000'000'000;
  tm utc{};
  ::gmtime_r(&seconds, &utc);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%09ldZ", utc.tm_year + 1900,
                utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                static_cast<long>(ns % 1'000'000'000));
  return text;
}

Result<std::string> encode_fields(const AuditRecord& record) {
  bool named = is_name(record.kind) && (record.role.empty() || is_name(record.role));
  for (const AuditDetail& each : record.details) named = named && is_name(each.name);
  if (!named || record.details.size() > limits::kAuditDetailsMax) {
    return Status(Code::kUnsupported,
                  "kinds, roles and details' names of audit records are 1 to "
                  "32 of a-z 0-9 _ . -, and there are at most 12 details");
  }
  std::string text;
  add_field(&text, "kind", record.kind);
  add_field(&text, "outcome", outcome_name(record.outcome));
  add_field(&text, "role", record.role);
  add_field(&text, "principal", record.principal);
  add_field(&text, "tenant", record.tenant);
  add_field(&text, "lease", record.lease);
  add_field(&text, "server", record.server);
  text += ",\"details\":{";
  for (std::size_t i = 0; i < record.details.size(); ++i) {
    if (i != 0) text += ',';
    add_string(&text, record.details[i].name);
    text += ':';
    add_string(&text, record.details[i].value);
  }
  text += '}';
  return text;
}

std::string encode_line(const std::string& time, const std::string& fields, AuditPlace* place) {
  return finish(head(place->sequence, time) + fields, place);
}

Result<std::string> encode_checkpoint(const std::string& time, const std::string& fields,
                                      const AuditSigner& signer, AuditPlace* place) {
  std::string line = head(place->sequence, time) + fields;
  Result<AuditSignature> signature = signer.sign(std::string(kHeading) + line);
  if (!signature.ok()) return signature.status();
  line += kSignatureKey;
  line += to_hex(signature.value());
  line += '"';
  return finish(std::move(line), place);
}

Result<AuditLine> parse_line(std::string_view text) {
  if (text.size() >= limits::kAuditLineBytesMax) {
    return Status(Code::kMalformed, "a line is too long");
  }
  Reader in(text);
  AuditLine line = read_line(in);
  if (Status done = in.status(); !done.ok()) return done;
  return line;
}

bool is_cut_short(std::string_view text, bool whole) {
  constexpr std::size_t kUnwrittenBytes = 16;
  if (text.find(std::string(kUnwrittenBytes, '\0')) != std::string_view::npos) return true;
  if (whole) return false;
  Reader in(text);
  (void)read_line(in);
  return in.status().ok() || in.ended_early();
}

AuditHash next_hash(const AuditHash& before, std::string_view hashed) {
  init_crypto();
  AuditHash hash{};
  unsigned bytes = 0;
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                  &EVP_MD_CTX_free);
  const bool done =
      context && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1 &&
      EVP_DigestUpdate(context.get(), before.data(), before.size()) == 1 &&
      EVP_DigestUpdate(context.get(), hashed.data(), hashed.size()) == 1 &&
      EVP_DigestFinal_ex(context.get(), reinterpret_cast<unsigned char*>(hash.data()), &bytes) == 1;
  FARCALL_CHECK(done && bytes == hash.size(), bytes);
  return hash;
}

bool is_signed(const AuditLine& checkpoint, const AuditVerifier& by) {
  return by.is_signed(std::string(kHeading) + std::string(checkpoint.signed_text),
                      checkpoint.signature);
}

std::string_view detail(const AuditRecord& record, std::string_view name) {
  for (const AuditDetail& each : record.details) {
    if (each.name == name) return each.value;
  }
  return {};
}

Result<AuditHash> parse_hash(std::string_view digits) {
  AuditHash hash{};
  Reader in(digits);
  in.hexadecimal(hash);
  if (Status done = in.status(); !done.ok()) return done;
  return hash;
}

}  // namespace farcall::security
