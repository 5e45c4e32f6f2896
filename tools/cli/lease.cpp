// farcall lease: lease tokens for a pool without a scheduler, and what anybody may ask about one.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <memory>

#include "security/identity.h"
#include "security/lease_file.h"
#include "security/lease_keys.h"
#include "security/lease_token.h"
#include "tools/cli/commands.h"
#include "tools/cli/families.h"
#include "tools/cli/lease_text.h"
#include "tools/cli/units.h"

namespace farcall::cli {
namespace {

constexpr int kExitNotGood = 1;
// A token holds a minute back as well, for clocks that differ.
constexpr std::int64_t kSlackSeconds = 60;

struct IssueOptions {
  std::string key = "lease.key";
  std::string certificate;
  std::string memory, time = "1h", starts_in;
  std::string calls, not_calls;
  std::string data_class = "internal";
  std::string cipher = "aes-256-gcm";
  int compute = 100;
  int sessions = 8;
  std::string out;
  security::LeaseToken lease;
};

struct RenewOptions {
  std::string key = "lease.key";
  std::string old;
  std::string time = "1h";
  std::string out;
};

struct VerifyOptions {
  std::string file;
  std::string keys;
  std::string certificate;
  std::string server;
};

struct RevokeOptions {
  std::string key = "lease.key";
  std::string list = "revoked.leases";
  std::vector<std::string> what;
};

struct LeaseOptions {
  std::string keygen_out = "lease";
  IssueOptions issue;
  RenewOptions renew;
  std::string shown;
  VerifyOptions verify;
  RevokeOptions revoke;
};

int usage(const Status& why) {
  fail(why.text());
  return kExitUsage;
}

int keygen(const std::string& out) {
  Status made = security::make_lease_key(out + ".key", out + ".pub");
  if (!made.ok()) return fail(made);
  std::printf("%s.key: whoever has it can lend this pool's GPUs: keep it here\n", out.c_str());
  std::printf("%s.pub: for every server: farcall-server --lease-keys %s.pub\n", out.c_str(),
              out.c_str());
  return 0;
}

Status set_times(const std::string& time, const std::string& starts_in,
                 security::LeaseToken* lease) {
  Result<std::int64_t> length = parse_duration(time);
  if (!length.ok()) return length.status();
  std::int64_t start_s = std::time(nullptr);
  std::int64_t slack_s = kSlackSeconds;
  if (!starts_in.empty()) {
    Result<std::int64_t> later = parse_duration(starts_in);
    if (!later.ok()) return later.status();
    start_s += later.value();
    slack_s = 0;
  }
  if (length.value() > limits::kLeaseSecondsMax) {
    return {Code::kUnsupported, "a lease lasts " + duration_text(limits::kLeaseSecondsMax) +
                                    " at most: renew it (farcall lease renew)"};
  }
  lease->expires = start_s + length.value();
  lease->not_before = std::max(start_s - slack_s, lease->expires - limits::kLeaseSecondsMax);
  return ok();
}

Status set_calls(const IssueOptions& options, security::LeaseToken* lease) {
  if (!options.calls.empty()) {
    Result<std::uint64_t> families = parse_families(options.calls);
    if (!families.ok()) return families.status();
    lease->families = families.value();
  }
  if (!options.not_calls.empty()) {
    Result<std::uint64_t> families = parse_families(options.not_calls);
    if (!families.ok()) return families.status();
    lease->families &= ~families.value() | 1;
  }
  return ok();
}

// Fills in what the options say as text.  Errors: kUnsupported with what is wrong.
Status complete_lease(const IssueOptions& options, security::LeaseToken* lease) {
  lease->id = security::make_lease_id();
  lease->compute_percent = static_cast<std::uint8_t>(options.compute);
  lease->sessions = static_cast<std::uint16_t>(options.sessions);
  if (!options.memory.empty()) {
    Result<std::uint64_t> bytes = parse_size(options.memory);
    if (!bytes.ok()) return bytes.status();
    lease->memory_bytes = bytes.value();
  }
  Result<security::DataClass> data_class = parse_data_class(options.data_class);
  if (!data_class.ok()) return data_class.status();
  lease->data_class = data_class.value();
  if (options.cipher == security::name_of(security::CipherFloor::kAes128Gcm)) {
    lease->cipher_floor = security::CipherFloor::kAes128Gcm;
  }
  FARCALL_TRY(set_calls(options, lease));
  return set_times(options.time, options.starts_in, lease);
}

int write_lease(const security::LeaseToken& lease, const std::string& key_path,
                const std::string& out) {
  Result<security::LeaseKey> key = security::LeaseKey::load(key_path);
  if (!key.ok()) return fail(key.status());
  Result<security::LeaseBytes> token = security::sign_lease(lease, key.value());
  if (!token.ok()) return fail(token.status());
  if (Status saved = security::save_lease(token.value(), out); !saved.ok()) return fail(saved);
  std::printf("%s: lease %s for user %s of tenant %s on %s, until %s\n", out.c_str(),
              to_string(lease.id).c_str(), lease.user.c_str(), lease.tenant.c_str(),
              lease.server.c_str(), security::time_text(lease.expires).c_str());
  return 0;
}

int issue(const IssueOptions& options) {
  auto facts = security::describe_certificate(options.certificate);
  if (!facts.ok()) return fail(facts.status());
  if (!facts->for_client) {
    return fail(options.certificate + " is no client's certificate: a lease is a client's");
  }
  Result<security::KeyHash> holder = security::key_hash_of(options.certificate);
  if (!holder.ok()) return fail(holder.status());
  security::LeaseToken lease = options.lease;
  lease.pool = facts->who.pool;
  lease.tenant = facts->who.tenant;
  lease.user = facts->who.user;
  lease.holder = holder.value();
  if (Status complete = complete_lease(options, &lease); !complete.ok()) return usage(complete);
  return write_lease(lease, options.key, options.out.empty() ? lease.user + ".lease" : options.out);
}

int renew(const RenewOptions& options) {
  Result<std::vector<security::LeaseBytes>> tokens = security::load_leases(options.old);
  if (!tokens.ok()) return fail(tokens.status());
  if (tokens->size() != 1)
    return fail(options.old + " holds several leases; renew them one by one");
  Result<security::LeaseKey> key = security::LeaseKey::load(options.key);
  if (!key.ok()) return fail(key.status());
  Result<security::LeaseKeys> own = key->own();
  if (!own.ok()) return fail(own.status());
  // Nobody's edits are signed: what is renewed was ours before.
  Result<security::LeaseToken> lease = security::verify_lease(tokens->front(), own.value());
  if (!lease.ok()) {
    return fail(options.old + " is no lease of " + options.key + ": " + lease.status().text());
  }
  ++lease->serial;
  if (Status times = set_times(options.time, "", &lease.value()); !times.ok()) return usage(times);
  const int done = write_lease(lease.value(), options.key, options.out);
  if (done != 0) return done;
  std::printf(
      "Programs that run with this lease go on until then, once its server has seen the new "
      "token:\n  farcall gpus --lease %s\n",
      options.out.c_str());
  return 0;
}

int show(const std::string& file) {
  Result<std::vector<security::LeaseBytes>> tokens = security::load_leases(file);
  if (!tokens.ok()) return fail(tokens.status());
  for (std::size_t i = 0; i < tokens->size(); ++i) {
    Result<security::LeaseToken> lease = security::read_lease(tokens.value()[i]);
    if (!lease.ok()) return fail(lease.status());
    std::printf("%s%s", i == 0 ? "" : "\n", describe(lease.value(), std::time(nullptr)).c_str());
  }
  return 0;
}

Status verify_one(const VerifyOptions& options, const security::LeaseKeys& keys,
                  std::span<const std::byte> token) {
  Result<security::LeaseToken> lease = security::verify_lease(token, keys);
  if (!lease.ok()) return lease.status();
  // What was not asked about counts as right.
  security::PeerIdentity who;
  who.tenant = lease->tenant;
  who.user = lease->user;
  security::KeyHash key = lease->holder;
  std::string pool = lease->pool;
  if (!options.certificate.empty()) {
    auto facts = security::describe_certificate(options.certificate);
    if (!facts.ok()) return facts.status();
    Result<security::KeyHash> hash = security::key_hash_of(options.certificate);
    if (!hash.ok()) return hash.status();
    who = facts->who;
    key = hash.value();
    pool = facts->who.pool;
  }
  return security::check_use(lease.value(),
                             {.who = who,
                              .key = key,
                              .pool = pool,
                              .server = options.server.empty() ? lease->server : options.server,
                              .zone = lease->zone,
                              .now_s = std::time(nullptr)});
}

int verify(const VerifyOptions& options) {
  Result<security::LeaseKeys> keys = security::LeaseKeys::load(options.keys);
  if (!keys.ok()) return fail(keys.status());
  Result<std::vector<security::LeaseBytes>> tokens = security::load_leases(options.file);
  if (!tokens.ok()) return fail(tokens.status());
  int result = 0;
  for (const security::LeaseBytes& token : tokens.value()) {
    const Status good = verify_one(options, keys.value(), token);
    const std::string server =
        good.ok() ? " for " + security::read_lease(token)->server : std::string();
    std::printf("%s%s: %s\n", options.file.c_str(), server.c_str(),
                good.ok() ? "good" : good.text().c_str());
    if (!good.ok()) result = kExitNotGood;
  }
  return result;
}

// Adds what a word names: a file of leases, or an id.
Status add_revoked(const std::string& word, security::RevokedLeases* list) {
  std::error_code error;
  if (!std::filesystem::exists(word, error)) {
    Result<security::LeaseId> id = security::parse_lease_id(word);
    if (!id.ok()) return {Code::kNotFound, word + ": no such file, and " + id.status().text()};
    list->add({id.value(), std::time(nullptr) + limits::kLeaseSecondsMax});
    return ok();
  }
  Result<std::vector<security::LeaseBytes>> tokens = security::load_leases(word);
  if (!tokens.ok()) return tokens.status();
  for (const security::LeaseBytes& token : tokens.value()) {
    Result<security::LeaseToken> lease = security::read_lease(token);
    if (!lease.ok()) return {lease.status().code(), word + ": " + lease.status().text()};
    // A renewal may live longer than this token of the lease.
    list->add({lease->id, lease->expires + limits::kLeaseSecondsMax});
  }
  return ok();
}

int revoke(const RevokeOptions& options) {
  Result<security::LeaseKey> key = security::LeaseKey::load(options.key);
  if (!key.ok()) return fail(key.status());
  security::RevokedLeases list;
  std::error_code error;
  if (std::filesystem::exists(options.list, error)) {
    Result<security::LeaseKeys> own = key->own();
    if (!own.ok()) return fail(own.status());
    Result<security::RevokedLeases> old = security::load_revoked(options.list, own.value());
    if (!old.ok()) return fail(old.status());
    list = std::move(old).value();
  }
  for (const std::string& word : options.what) {
    if (Status added = add_revoked(word, &list); !added.ok()) return fail(added);
  }
  if (Status kept = list.forget_before(std::time(nullptr)); !kept.ok()) return fail(kept);
  ++list.number;
  Result<std::vector<std::byte>> bytes = security::sign_revoked(list, key.value());
  if (!bytes.ok()) return fail(bytes.status());
  if (Status saved = security::save_revoked(bytes.value(), options.list); !saved.ok()) {
    return fail(saved);
  }
  std::printf(
      "%s: list %u, %zu leases; servers with --lease-revoked of this file end their "
      "sessions within a second\n",
      options.list.c_str(), list.number, list.entries.size());
  return 0;
}

void declare_issue(CLI::App* issue, IssueOptions* o) {
  issue->add_option("--key", o->key, "the issuer's key")->capture_default_str();
  issue->add_option("--for", o->certificate, "certificate of the client it is for, PEM")
      ->required();
  issue->add_option("--server", o->lease.server, "the server's name, as in its certificate")
      ->required();
  issue->add_option("--devices", o->lease.devices, "numbers or UUIDs; default: all it offers")
      ->delimiter(',');
  issue->add_option("--memory", o->memory, "of each device, such as 20G; default: no limit");
  issue
      ->add_option("--compute", o->compute,
                   "percent of each device's time while others want it too; 100: what theirs leave")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  issue->add_option("--sessions", o->sessions, "client processes at a time")
      ->check(CLI::Range(1, 65535))
      ->capture_default_str();
  issue->add_option("--time", o->time, "how long it holds, up to 7d")->capture_default_str();
  issue->add_option("--starts-in", o->starts_in, "when it begins; default: now");
  issue->add_option("--calls", o->calls, "grant these families of calls only");
  issue->add_option("--not-calls", o->not_calls, "grant all but these");
  issue->add_option("--data", o->data_class, "public, internal, confidential or restricted")
      ->capture_default_str();
  issue
      ->add_option("--cipher", o->cipher,
                   "what is to be sealed with at least; aes-128-gcm leaves the choice to server "
                   "and client, below 'confidential'")
      ->check(CLI::IsMember({"aes-256-gcm", "aes-128-gcm"}))
      ->capture_default_str();
  issue->add_option("--zone", o->lease.zone, "where the server must be");
  issue->add_option("--role", o->lease.role, "the holder's role");
  issue->add_option("--project", o->lease.project, "what it is charged to");
  issue->add_option("--purpose", o->lease.purpose, "what for, for the audit log");
  issue->add_option("--out", o->out, "file to write; default: USER.lease");
  issue->footer(
      "Example:\n  farcall lease issue --for ana.crt --server gpu1 --memory 20G --time 4h\n"
      "  farcall run --lease ana.lease --server gpu1:7717 -- python train.py\n\n"
      "From 'confidential' on payloads are not compressed. Families of calls: " +
      families_help());
}

}  // namespace

void add_lease(CLI::App& app, Act* act) {
  // Lives as long as the parser, whose callbacks fill it.
  auto o = std::make_shared<LeaseOptions>();
  auto* lease = app.add_subcommand("lease", "Leases: who may use what of a server, until when");
  lease->require_subcommand(1);
  lease->footer(
      "A server with --lease-keys lets nobody in without a lease. First steps:\n"
      "  farcall lease keygen\n"
      "  farcall-server --lease-keys lease.pub …\n"
      "  farcall lease issue --for ana.crt --server gpu1 --time 4h");
  auto* keygen_it = lease->add_subcommand("keygen", "Make an issuer's key pair");
  keygen_it->add_option("--out", o->keygen_out, "write OUT.key and OUT.pub")->capture_default_str();
  auto* issue_it = lease->add_subcommand("issue", "Lend a server to the holder of a certificate");
  declare_issue(issue_it, &o->issue);
  auto* renew_it = lease->add_subcommand("renew", "Lend it for longer");
  renew_it->add_option("lease", o->renew.old, "file of the lease, as it was issued")->required();
  renew_it->add_option("--key", o->renew.key, "the issuer's key")->capture_default_str();
  renew_it->add_option("--time", o->renew.time, "from now on, up to 7d")->capture_default_str();
  renew_it->add_option("--out", o->renew.out, "file to write")->required();
  auto* show_it = lease->add_subcommand("show", "Say what a lease says, believed or not");
  show_it->add_option("lease", o->shown, "file of one lease or several")->required();
  auto* verify_it = lease->add_subcommand("verify", "Say whether a server would accept it");
  verify_it->add_option("lease", o->verify.file, "file of one lease or several")->required();
  verify_it->add_option("--keys", o->verify.keys, "as the server's --lease-keys")->required();
  verify_it->add_option("--cert", o->verify.certificate, "shown with this certificate, PEM");
  verify_it->add_option("--server", o->verify.server, "to the server of this name");
  verify_it->footer("Exit status: 0 it would, 1 it would not, 125 the files cannot be read.");
  auto* revoke_it = lease->add_subcommand("revoke", "Take leases back before they expire");
  revoke_it->add_option("what", o->revoke.what, "files of leases, or ids")->required();
  revoke_it->add_option("--key", o->revoke.key, "the issuer's key")->capture_default_str();
  revoke_it->add_option("--list", o->revoke.list, "the list to add them to")->capture_default_str();
  revoke_it->footer(
      "Copy the list to each server's --lease-revoked file; sessions end within a second.\n"
      "Example:\n  farcall lease revoke ana.lease --list /etc/farcall/revoked.leases");
  keygen_it->callback([o, act] { *act = [o] { return keygen(o->keygen_out); }; });
  issue_it->callback([o, act] { *act = [o] { return issue(o->issue); }; });
  renew_it->callback([o, act] { *act = [o] { return renew(o->renew); }; });
  show_it->callback([o, act] { *act = [o] { return show(o->shown); }; });
  verify_it->callback([o, act] { *act = [o] { return verify(o->verify); }; });
  revoke_it->callback([o, act] { *act = [o] { return revoke(o->revoke); }; });
}

}  // namespace farcall::cli
