#include "security/audit_line.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include "tests/security/audit_folder.h"

namespace farcall::security {
namespace {

using farcall::testing::AuditFolder;

AuditRecord hostile(const std::string& name) {
  AuditRecord record{.kind = std::string(audit::kSessionRefused)};
  record.outcome = AuditOutcome::kRefused;
  record.role = "stranger";
  record.details = {{"from", "10.0.0.7:4711"}, {"why", name}};
  return record;
}

std::string line_of(const AuditRecord& record) {
  AuditPlace place;
  auto fields = encode_fields(record);
  REQUIRE(fields.ok());
  std::string line = encode_line(audit_time(1'795'000'000'123'456'789), fields.value(), &place);
  CHECK(place.sequence == 2);
  return line;
}

TEST_CASE("a record is a line of JSON, and comes back as it was") {
  const std::string line = line_of(AuditFolder::session("ann"));
  CHECK(line.starts_with(R"({"seq":1,"time":"2026-11-18T11:06:40.123456789Z",)"
                         R"("kind":"session.start","outcome":"ok","role":"user",)"
                         R"("principal":"spiffe://lab/tenant/acme/user/ann","tenant":"acme",)"
                         R"("lease":"","server":"","details":{"from":"10.0.0.7:4711"},"hash":")"));
  auto back = parse_line(std::string_view(line).substr(0, line.size() - 1));
  REQUIRE_MESSAGE(back.ok(), back.status().to_string());
  CHECK(back->record == AuditFolder::session("ann"));
  CHECK(back->sequence == 1);
  CHECK(next_hash({}, back->hashed) == back->hash);
}

TEST_CASE("whatever a peer calls itself, a record is one line and says what the peer said") {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  for (const std::string& name :
       {all, std::string("x\"},\"hash\":\"00\"}\n{\"seq\":2,"), std::string(10'000, '\n'),
        std::string("\\u0041\\\\\""), std::string("\x1b[2J\r"), std::string()}) {
    const std::string line = line_of(hostile(name));
    CHECK(line.find('\n') == line.size() - 1);
    CHECK(line.size() < limits::kAuditLineBytesMax);
    for (char c : line.substr(0, line.size() - 1)) CHECK((c >= 0x20 && c < 0x7f));
    auto back = parse_line(std::string_view(line).substr(0, line.size() - 1));
    REQUIRE_MESSAGE(back.ok(), back.status().to_string());
    CHECK(detail(back->record, "why") == name.substr(0, limits::kAuditValueBytesMax));
  }
}

TEST_CASE("the longest record there can be fits into a line") {
  AuditRecord record = hostile(std::string(10'000, '\x01'));
  record.principal = record.tenant = record.lease = record.server = std::string(10'000, '\x02');
  record.details.assign(limits::kAuditDetailsMax,
                        {std::string(limits::kAuditNameBytesMax, 'n'), std::string(999, '\x03')});
  const std::string line = line_of(record);
  CHECK(line.size() < limits::kAuditLineBytesMax);
  CHECK(parse_line(std::string_view(line).substr(0, line.size() - 1)).ok());
}

TEST_CASE("names that could break the format are refused, not written") {
  AuditRecord record = AuditFolder::session("ann");
  record.kind = "session start";
  CHECK(encode_fields(record).status().code() == Code::kUnsupported);
  record = AuditFolder::session("ann");
  record.details[0].name = "a\"b";
  CHECK(encode_fields(record).status().code() == Code::kUnsupported);
  record.details.assign(limits::kAuditDetailsMax + 1, {"name", "value"});
  CHECK(encode_fields(record).status().code() == Code::kUnsupported);
}

TEST_CASE("the reader takes what the writer writes, and every beginning of it is cut short") {
  const std::string line = line_of(AuditFolder::session("a\"\x01"));
  const std::string_view text = std::string_view(line).substr(0, line.size() - 1);
  REQUIRE(parse_line(text).ok());
  for (std::size_t bytes = 1; bytes < text.size(); ++bytes) {
    CAPTURE(bytes);
    CHECK(parse_line(text.substr(0, bytes)).status().code() == Code::kMalformed);
    CHECK(is_cut_short(text.substr(0, bytes), false));
    CHECK_FALSE(is_cut_short(text.substr(0, bytes), true));
  }
  for (const char* other :
       {"{}", R"({"seq":0)", R"({"seq":01)", R"( {"seq":1)", R"({"seq": 1)", R"({"seq":-1)",
        R"({"seq":99999999999999999999)", R"({"seq":1,"time":"2026-11-18 05:46:40.123456789Z")"}) {
    CHECK_FALSE(parse_line(other).ok());
  }
  CHECK_FALSE(is_cut_short("{\"seq\":1,\"tome", false));
  CHECK(is_cut_short(std::string(100, '\0'), true));
  CHECK_FALSE(parse_line(std::string(text) + " ").ok());
  CHECK_FALSE(parse_line(std::string(limits::kAuditLineBytesMax, 'x')).ok());
}

TEST_CASE("a key is its owner's alone and is never replaced") {
  AuditFolder folder;
  const std::string stem = folder.base("own");
  REQUIRE(make_audit_key(stem).ok());
  struct stat facts {};
  REQUIRE(::stat((stem + ".key").c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777) == 0600);
  CHECK(make_audit_key(stem).code() == Code::kDenied);
  auto signer = AuditSigner::load(stem + ".key");
  REQUIRE_MESSAGE(signer.ok(), signer.status().to_string());
  auto verifier = AuditVerifier::load(stem + ".pub");
  REQUIRE_MESSAGE(verifier.ok(), verifier.status().to_string());
  CHECK(signer->fingerprint() == verifier->fingerprint());
  auto signature = signer->sign("a text");
  REQUIRE(signature.ok());
  CHECK(verifier->is_signed("a text", signature.value()));
  CHECK_FALSE(verifier->is_signed("a next", signature.value()));
  REQUIRE(::chmod((stem + ".key").c_str(), 0640) == 0);
  CHECK(AuditSigner::load(stem + ".key").status().code() == Code::kDenied);
  CHECK(AuditSigner::load(stem + ".pub").status().code() == Code::kDenied);
  CHECK(AuditVerifier::load(stem + ".none").status().code() == Code::kNotFound);
}

}  // namespace
}  // namespace farcall::security
