#include "security/manifest.h"

#include <doctest/doctest.h>

#include "security/manifest_file.h"
#include "tests/security/lease_issuer.h"

using namespace farcall;
using namespace farcall::security;
using farcall::testing::LeaseIssuer;

namespace {

constexpr std::int64_t kNow = 1'800'000'000;

bool says(const Status& status, const char* words) {
  return status.text().find(words) != std::string::npos;
}

CodeFile file(const std::string& path, unsigned char fill) {
  CodeFile one;
  one.path = path;
  one.bytes = fill;
  one.sha256.fill(std::byte{fill});
  return one;
}

Manifest sample() {
  Manifest manifest{.made = kNow, .until = kNow + 86'400, .name = "gpu image 7", .files = {}};
  manifest.add(file("/usr/lib/libssl.so.3", 3));
  manifest.add(file("/usr/bin/farcall-worker", 1));
  manifest.files[0].role = CodeRole::kWorker;
  manifest.files[1].verity = FileDigest{std::byte{9}};
  return manifest;
}

Approval exception() {
  Approval one;
  one.path = "/usr/lib/libssl.so.3";
  one.bytes = 4;
  one.sha256.fill(std::byte{4});
  one.made = kNow;
  one.until = kNow + 86'400;
  one.owner = "ana";
  one.reason = "OpenSSL 3.0.19";
  return one;
}

Cosigned signed_one(std::string_view label, std::vector<std::byte> body, const LeaseKey& key) {
  Cosigned text{.body = std::move(body), .signatures = {}};
  REQUIRE(cosign(label, key, &text).ok());
  return text;
}

}  // namespace

TEST_CASE("a manifest and an approval say what was signed, and neither passes for the other") {
  const LeaseIssuer signer;
  const Cosigned manifest = signed_one(kManifestLabel, encode(sample()).value(), signer.key());
  CHECK(verify_manifest(manifest, signer.keys(), 1).value() == sample());
  CHECK(sample().find("/usr/bin/farcall-worker")->role == CodeRole::kWorker);
  CHECK(sample().find("/usr/bin/farcall") == nullptr);
  const Cosigned approval = signed_one(kApprovalLabel, encode(exception()).value(), signer.key());
  CHECK(verify_approval(approval, signer.keys(), 1).value() == exception());
  CHECK(verify_approval(manifest, signer.keys(), 1).status().code() == Code::kDenied);
  CHECK(verify_manifest(approval, signer.keys(), 1).status().code() == Code::kDenied);
}

TEST_CASE("a manifest that was edited, cut short or signed by a stranger is refused") {
  const LeaseIssuer signer;
  const LeaseIssuer stranger;
  const Cosigned text = signed_one(kManifestLabel, encode(sample()).value(), signer.key());
  const std::vector<std::byte> bytes = encode(text);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::vector<std::byte> edited = bytes;
    edited[at] ^= std::byte{1};
    Result<Cosigned> read = read_cosigned(edited);
    CHECK_FALSE((read.ok() && verify_manifest(read.value(), signer.keys(), 1).ok()));
    CHECK_FALSE(read_cosigned(std::span(bytes).first(at)).ok());
  }
  const Status unknown = verify_manifest(text, stranger.keys(), 1).status();
  CHECK(unknown.code() == Code::kDenied);
  CHECK(says(unknown, to_string(signer.key().id()).c_str()));
  const Cosigned nobodys{.body = text.body, .signatures = {}};
  CHECK(says(verify_manifest(nobodys, signer.keys(), 1).status(), "nobody has signed it"));
}

TEST_CASE("where two signatures are needed, one person's two do not do") {
  const LeaseIssuer ana;
  const LeaseIssuer ben;
  Cosigned text = signed_one(kManifestLabel, encode(sample()).value(), ana.key());
  CHECK(says(verify_manifest(text, ana.keys(), 2).status(), "by 1 of the 2"));
  CHECK(cosign(kManifestLabel, ana.key(), &text).code() == Code::kDenied);
  const FileDigest before = digest_of(text);
  REQUIRE(cosign(kManifestLabel, ben.key(), &text).ok());
  CHECK(digest_of(text) == before);
  CHECK_FALSE(verify_manifest(text, ana.keys(), 2).ok());  // ben is not known there
  REQUIRE(save_manifest(text, ana.path("both.manifest")).ok());
  std::filesystem::create_directory(ana.path("keys"));
  std::filesystem::copy_file(ana.path("lease.pub"), ana.path("keys/ana.pub"));
  std::filesystem::copy_file(ben.path("lease.pub"), ana.path("keys/ben.pub"));
  const LeaseKeys both = std::move(LeaseKeys::load(ana.path("keys"))).value();
  const Cosigned back = load_manifest(ana.path("both.manifest")).value();
  CHECK(verify_manifest(back, both, 2).value() == sample());
  CHECK(digest_of_manifest(ana.path("both.manifest")).value() == before);
}

TEST_CASE("what no manifest may say is neither written nor read") {
  Manifest manifest = sample();
  CHECK(encode(Manifest{}).status().code() == Code::kUnsupported);
  manifest.files[1].path = "lib/libssl.so.3";
  CHECK(says(encode(manifest).status(), "no absolute path"));
  manifest.files[1].path = manifest.files[0].path;
  CHECK(says(encode(manifest).status(), "listed twice"));
  Approval approval = exception();
  approval.until = kNow + limits::kApprovalSecondsMax + 1;
  CHECK(says(encode(approval).status(), "90 days"));
  approval = exception();
  approval.reason = "two\nlines";
  CHECK_FALSE(encode(approval).ok());
  // A body that somebody signed all the same.
  std::vector<std::byte> body = encode(sample()).value();
  body.push_back(std::byte{0});
  CHECK(read_manifest(body).status().code() == Code::kMalformed);
}

TEST_CASE("a file holds one manifest or many approvals, and says what it lacks") {
  const LeaseIssuer signer;
  const std::string path = signer.path("approvals");
  CHECK(load_approvals(path).status().code() == Code::kNotFound);
  const Cosigned one = signed_one(kApprovalLabel, encode(exception()).value(), signer.key());
  REQUIRE(save_approvals({one, one}, path).ok());
  CHECK(load_approvals(path).value().size() == 2);
  CHECK(says(load_manifest(path).status(), "holds no manifest"));
  const std::vector<Cosigned> many(limits::kApprovalsMax + 1, one);
  CHECK(save_approvals(many, path).code() == Code::kOverQuota);
}
