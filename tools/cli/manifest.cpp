// farcall manifest: which code a GPU server may run, signed; and exceptions from it.
#include "security/manifest.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <memory>

#include "security/code_integrity.h"
#include "security/crypto.h"
#include "security/identity.h"
#include "security/manifest_file.h"
#include "tools/cli/commands.h"
#include "tools/cli/families.h"
#include "tools/cli/manifest_files.h"
#include "tools/cli/places.h"
#include "tools/cli/units.h"

namespace farcall::cli {
namespace {

namespace fs = std::filesystem;
using security::Approval;
using security::Cosigned;
using security::Manifest;

constexpr int kExitNotGood = 1;

struct MakeOptions {
  ManifestParts parts;
  std::vector<std::string> more;
  std::string name, time, key;
  std::string out = "server.manifest";
};

struct ApproveOptions {
  std::string file, as, key, owner, reason;
  std::string time = "7d";
  std::string approvals = "server.approvals";
};

struct ManifestOptions {
  std::string keygen_out = "manifest";
  MakeOptions make;
  std::string file, key;  // of sign and show
  security::CodeOptions verify;
  ApproveOptions approve;
};

int usage(const Status& why) {
  fail(why.text());
  return kExitUsage;
}

int keygen(const std::string& out) {
  Status made = security::make_lease_key(out + ".key", out + ".pub");
  if (!made.ok()) return fail(made);
  std::printf("%s.key: whoever has it says what servers may run: keep it off the servers\n",
              out.c_str());
  std::printf("%s.pub: for every server: farcall-server --manifest-keys %s.pub\n", out.c_str(),
              out.c_str());
  return 0;
}

Status sign_with(const std::string& key_path, std::string_view label, Cosigned* text) {
  Result<security::LeaseKey> key = security::LeaseKey::load(key_path);
  if (!key.ok()) return key.status();
  return cosign(label, key.value(), text);
}

Status add_part(const std::string& word, ManifestParts* parts) {
  const std::size_t sign = word.find('=');
  if (sign == word.npos) {
    return {Code::kUnsupported, "--add takes ROLE=PATH, like library=/opt/x/libx.so.1"};
  }
  Result<security::CodeRole> role = security::parse_code_role(word.substr(0, sign));
  if (!role.ok()) return role.status();
  parts->more.emplace_back(role.value(), word.substr(sign + 1));
  return ok();
}

void print_signers(const Cosigned& text) {
  if (text.signatures.empty()) std::printf("signed by nobody yet\n");
  for (const Cosigned::Signature& each : text.signatures) {
    std::printf("signed by key %s\n", security::to_string(each.key).c_str());
  }
}

int make(MakeOptions options) {
  for (const std::string& word : options.more) {
    if (Status added = add_part(word, &options.parts); !added.ok()) return usage(added);
  }
  std::vector<std::string> notes;
  Result<Manifest> manifest = manifest_of(options.parts, &notes);
  if (!manifest.ok()) return fail(manifest.status());
  manifest->made = std::time(nullptr);
  manifest->name = options.name;
  if (!options.time.empty()) {
    Result<std::int64_t> length = parse_duration(options.time);
    if (!length.ok()) return usage(length.status());
    manifest->until = manifest->made + length.value();
  }
  Result<std::vector<std::byte>> body = encode(manifest.value());
  if (!body.ok()) return fail(body.status());
  Cosigned text{.body = std::move(body).value(), .signatures = {}};
  if (!options.key.empty()) {
    if (Status done = sign_with(options.key, security::kManifestLabel, &text); !done.ok()) {
      return fail(done);
    }
  }
  if (Status saved = save_manifest(text, options.out); !saved.ok()) return fail(saved);
  std::printf("%s: %zu files, SHA-256 %s\n", options.out.c_str(), manifest->files.size(),
              security::to_hex(digest_of(text)).c_str());
  print_signers(text);
  for (const std::string& note : notes) std::printf("note: %s\n", note.c_str());
  if (text.signatures.empty()) {
    std::printf("Look through it (farcall manifest show), then sign it: farcall manifest sign\n");
  }
  return 0;
}

// A file of approvals, or nothing where it is none.
Result<std::vector<Cosigned>> approvals_in(const std::string& path, const Status& no_manifest) {
  auto all = security::load_approvals(path);
  if (all.ok() || all.status().code() != Code::kDenied) return all;
  return no_manifest;
}

int sign_all(const ManifestOptions& o, std::vector<Cosigned> approvals) {
  Result<security::LeaseKey> key = security::LeaseKey::load(o.key);
  if (!key.ok()) return fail(key.status());
  std::size_t fresh = 0;
  for (Cosigned& each : approvals) {
    Status done = cosign(security::kApprovalLabel, key.value(), &each);
    if (done.ok()) ++fresh;
    if (!done.ok() && done.code() != Code::kDenied) return fail(done);
  }
  if (Status saved = save_approvals(approvals, o.file); !saved.ok()) return fail(saved);
  std::printf("%s: %zu of %zu approvals signed by key %s now\n", o.file.c_str(), fresh,
              approvals.size(), security::to_string(key->id()).c_str());
  return 0;
}

int sign(const ManifestOptions& o) {
  Result<Cosigned> text = security::load_manifest(o.file);
  if (!text.ok()) {
    auto approvals = approvals_in(o.file, text.status());
    return approvals.ok() ? sign_all(o, std::move(approvals).value()) : fail(approvals.status());
  }
  if (Result<Manifest> sound = security::read_manifest(text->body); !sound.ok()) {
    return fail(o.file + ": " + sound.status().text());
  }
  if (Status done = sign_with(o.key, security::kManifestLabel, &text.value()); !done.ok()) {
    return fail(done);
  }
  if (Status saved = save_manifest(text.value(), o.file); !saved.ok()) return fail(saved);
  std::printf("%s: SHA-256 %s\n", o.file.c_str(),
              security::to_hex(digest_of(text.value())).c_str());
  print_signers(text.value());
  return 0;
}

void print(const Approval& one) {
  const bool over = one.until <= std::time(nullptr);
  std::printf("%s\n  SHA-256 %s, %llu bytes\n  approved by %s, %s %s: %s\n", one.path.c_str(),
              security::to_hex(one.sha256).c_str(), static_cast<unsigned long long>(one.bytes),
              one.owner.c_str(), over ? "expired" : "until", security::date_text(one.until).c_str(),
              one.reason.c_str());
}

int show(const std::string& path) {
  Result<Cosigned> text = security::load_manifest(path);
  if (!text.ok()) {
    auto approvals = approvals_in(path, text.status());
    if (!approvals.ok()) return fail(approvals.status());
    for (const Cosigned& each : approvals.value()) {
      Result<Approval> one = security::read_approval(each.body);
      if (!one.ok()) return fail(path + ": " + one.status().text());
      print(one.value());
      print_signers(each);
    }
    return 0;
  }
  Result<Manifest> manifest = security::read_manifest(text->body);
  if (!manifest.ok()) return fail(path + ": " + manifest.status().text());
  std::printf("manifest %s%s%s\nmade %s, %s%s\n", security::to_hex(digest_of(text.value())).c_str(),
              manifest->name.empty() ? "" : ", ", manifest->name.c_str(),
              security::date_text(manifest->made).c_str(),
              manifest->until == 0 ? "good until there is another" : "good until ",
              manifest->until == 0 ? "" : security::date_text(manifest->until).c_str());
  print_signers(text.value());
  for (const security::CodeFile& file : manifest->files) {
    std::printf("%s  %-7s %11llu  %s%s\n", security::to_hex(file.sha256).c_str(),
                name_of(file.role), static_cast<unsigned long long>(file.bytes), file.path.c_str(),
                file.verity ? "  (fs-verity)" : "");
  }
  return 0;
}

int verify(const security::CodeOptions& options) {
  auto code = security::CodeIntegrity::open(options);
  if (!code.ok()) {
    const bool is_unread = code.status().code() == Code::kNotFound;
    fail(code.status());
    return is_unread ? kExitFarcall : kExitNotGood;
  }
  const security::CodeVerdict verdict = code.value()->look();
  for (const auto& each : verdict.findings) std::printf("%s\n", each.text().c_str());
  for (const Approval& each : verdict.approved) {
    std::printf("%s is another, approved by %s until %s: %s\n", each.path.c_str(),
                each.owner.c_str(), security::date_text(each.until).c_str(), each.reason.c_str());
  }
  std::printf("%s: %s: %zu of %zu files here are what it says\n", options.manifest.c_str(),
              verdict.fine() ? "good" : "NOT GOOD",
              verdict.files - verdict.findings.size() - verdict.approved.size(), verdict.files);
  return verdict.fine() ? 0 : kExitNotGood;
}

// Those of the file that have not expired, if there is one.
Result<std::vector<Cosigned>> approvals_so_far(const std::string& path) {
  auto all = security::load_approvals(path);
  if (all.status().code() == Code::kNotFound) return std::vector<Cosigned>();
  if (!all.ok()) return all;
  std::erase_if(all.value(), [](const Cosigned& each) {
    Result<Approval> one = security::read_approval(each.body);
    return one.ok() && one->until <= std::time(nullptr);
  });
  return all;
}

int approve(const ApproveOptions& o) {
  Result<std::int64_t> length = parse_duration(o.time);
  if (!length.ok()) return usage(length.status());
  std::error_code error;
  const std::string real = fs::canonical(o.file, error).string();
  if (error) return fail(o.file + ": " + error.message());
  Result<security::CodeFile> file = code_file_of(real, security::CodeRole::kOther);
  if (!file.ok()) return fail(file.status());
  Approval approval;
  approval.path = o.as.empty() ? real : o.as;
  approval.bytes = file->bytes;
  approval.sha256 = file->sha256;
  approval.made = std::time(nullptr);
  approval.until = approval.made + length.value();
  approval.owner = o.owner;
  approval.reason = o.reason;
  Result<std::vector<std::byte>> body = encode(approval);
  if (!body.ok()) return usage(body.status());
  Cosigned text{.body = std::move(body).value(), .signatures = {}};
  if (Status done = sign_with(o.key, security::kApprovalLabel, &text); !done.ok()) {
    return fail(done);
  }
  auto all = approvals_so_far(o.approvals);
  if (!all.ok()) return fail(all.status());
  all->push_back(std::move(text));
  if (Status saved = save_approvals(all.value(), o.approvals); !saved.ok()) return fail(saved);
  print(approval);
  std::printf(
      "%s: %zu approval(s); servers with --manifest-approvals of this file take it within a "
      "second\n",
      o.approvals.c_str(), all->size());
  return 0;
}

void declare_make(CLI::App* make, MakeOptions* o) {
  const Places places = find_places();
  o->parts.server = places.server;
  o->parts.worker = (fs::path(places.server).parent_path() / "farcall-worker").string();
  o->parts.driver = "libcuda.so.1";
  make->add_option("--out", o->out, "file to write, replacing it")->capture_default_str();
  make->add_option("--server-program", o->parts.server, "farcall-server")->capture_default_str();
  make->add_option("--worker", o->parts.worker, "as the server's --worker")->capture_default_str();
  make->add_option("--driver", o->parts.driver, "as the server's --driver")->capture_default_str();
  make->add_option("--add", o->more,
                   "ROLE=PATH of more files, or of a folder of files; roles are server, worker,\n"
                   "driver, library, other");
  make->add_option("--name", o->name, "for people, such as 'gpu image 2026-11'");
  make->add_option("--time", o->time, "how long it holds, such as 90d; default: without end");
  make->add_option("--sign", o->key, "sign it at once with this key");
  make->footer(
      "Run it where a server's programs and driver lie as they are to be: on the server before it\n"
      "serves, or on another machine with the same paths, with the server's LD_LIBRARY_PATH.\n"
      "Example:\n  farcall manifest make --name 'gpu image 7' --out gpu.manifest\n"
      "  farcall manifest show gpu.manifest\n"
      "  farcall manifest sign gpu.manifest --key manifest.key");
}

void declare_approve(CLI::App* approve, ApproveOptions* o) {
  approve->add_option("file", o->file, "the file, with the new bytes in it")->required();
  approve->add_option("--as", o->as, "its path on the servers, where it is another there");
  approve->add_option("--key", o->key, "the signer's key")->required();
  approve->add_option("--owner", o->owner, "who answers for it")->required();
  approve->add_option("--reason", o->reason, "why, for the audit log")->required();
  approve->add_option("--time", o->time, "how long it holds, up to 90d")->capture_default_str();
  approve->add_option("--approvals", o->approvals, "the file to add it to")->capture_default_str();
  approve->footer(
      "It covers just these bytes at this path. Where servers want two signatures\n"
      "(--manifest-signatures 2), somebody else adds the second: farcall manifest sign.\n"
      "Example:\n  farcall manifest approve /usr/lib/x86_64-linux-gnu/libssl.so.3 --key "
      "manifest.key \\\n    --owner ana --reason 'OpenSSL 3.0.19' --time 7d --approvals "
      "/etc/farcall/approvals");
}

void declare_verify(CLI::App* verify, security::CodeOptions* o) {
  verify->add_option("manifest", o->manifest, "file of the manifest")->required();
  verify->add_option("--keys", o->keys, "as the server's --manifest-keys")->required();
  verify->add_option("--approvals", o->approvals, "as the server's --manifest-approvals");
  verify->add_option("--signatures", o->signatures, "by so many of the keys")
      ->check(CLI::Range(std::size_t{1}, limits::kCosignersMax))
      ->capture_default_str();
  verify->footer(
      "Hashes every file of it on this machine. Exit status: 0 signed, and all files are what it\n"
      "says or approved; 1 not; 125 a file cannot be read.");
}

}  // namespace

void add_manifest(CLI::App& app, Act* act) {
  // Lives as long as the parser, whose callbacks fill it.
  auto o = std::make_shared<ManifestOptions>();
  auto* family = app.add_subcommand("manifest", "Manifests: which code a GPU server may run");
  family->require_subcommand(1);
  family->footer(
      "A server with --manifest starts no session while a file of its code is not what the\n"
      "manifest says; security/runbooks/code_changed.md says what to do then. First steps:\n"
      "  farcall manifest keygen\n"
      "  farcall manifest make --sign manifest.key --out gpu.manifest\n"
      "  farcall-server --manifest gpu.manifest --manifest-keys manifest.pub …");
  auto* keygen_it = family->add_subcommand("keygen", "Make a signer's key pair");
  keygen_it->add_option("--out", o->keygen_out, "write OUT.key and OUT.pub")->capture_default_str();
  auto* make_it = family->add_subcommand("make", "List this machine's code, with its hashes");
  declare_make(make_it, &o->make);
  auto* sign_it = family->add_subcommand("sign", "Add a signature to a manifest or to approvals");
  sign_it->add_option("file", o->file, "the file, which is replaced")->required();
  sign_it->add_option("--key", o->key, "the signer's key")->required();
  auto* show_it = family->add_subcommand("show", "Say what a manifest or approvals say");
  show_it->add_option("file", o->file, "signed or not, believed or not")->required();
  auto* verify_it = family->add_subcommand("verify", "Say whether a server here would accept it");
  declare_verify(verify_it, &o->verify);
  auto* approve_it = family->add_subcommand("approve", "Let one changed file pass for a while");
  declare_approve(approve_it, &o->approve);
  keygen_it->callback([o, act] { *act = [o] { return keygen(o->keygen_out); }; });
  make_it->callback([o, act] { *act = [o] { return make(o->make); }; });
  sign_it->callback([o, act] { *act = [o] { return sign(*o); }; });
  show_it->callback([o, act] { *act = [o] { return show(o->file); }; });
  verify_it->callback([o, act] { *act = [o] { return verify(o->verify); }; });
  approve_it->callback([o, act] { *act = [o] { return approve(o->approve); }; });
}

}  // namespace farcall::cli
