// farcall ca revoke, farcall ca deny-list: who is let in no longer.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <ctime>
#include <memory>

#include "security/ca_folder.h"
#include "security/deny_list.h"
#include "tools/cli/authority_keys.h"
#include "tools/cli/ca_commands.h"
#include "tools/cli/commands.h"

namespace farcall::cli {
namespace {

using Certificates = std::vector<security::PeerIdentity>;

struct RevokeOptions {
  std::string folder = "ca";
  std::string certificate;  // a file, or
  std::string serial;       // a number, or
  std::string tenant;       // everything that somebody has
  std::string user;
  std::string server;
  std::string reason;
  int days = security::kDenyListDays;
};

void say_list(const security::CaFolder& ca) {
  auto list = security::DenyList::open(ca.deny_list_path(), ca.root_path());
  if (!list.ok()) return static_cast<void>(fail(list.status()));
  const security::DenyList::Facts facts = list.value()->facts();
  std::printf("%s: list %llu, %zu certificate(s), good until %s\n", ca.deny_list_path().c_str(),
              static_cast<unsigned long long>(facts.number), facts.certificates,
              security::date_text(facts.good_until).c_str());
}

// "4F:1E:22" and "004f1e22" are 4f1e22, as the index has it.
std::string plain_serial(std::string text) {
  text.erase(std::remove(text.begin(), text.end(), ':'), text.end());
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  while (text.size() > 2 && text.starts_with("00")) text.erase(0, 2);
  return text;
}

// Whatever that user, tenant or server has that would let them in.
Result<Certificates> all_of(const security::CaFolder& ca, const RevokeOptions& options) {
  auto issued = ca.issued();
  if (!issued.ok()) return issued.status();
  Certificates found;
  for (const security::Issued& one : issued.value()) {
    const security::PeerIdentity& who = one.who;
    const bool theirs =
        !options.server.empty()
            ? who.host == options.server
            : who.tenant == options.tenant && (options.user.empty() || who.user == options.user);
    const auto standing = security::standing_of(one, std::time(nullptr));
    const bool lets_in =
        standing != security::Standing::kExpired && standing != security::Standing::kRevoked;
    if (theirs && lets_in && who.kind != security::IdentityKind::kAuthority) found.push_back(who);
  }
  if (!found.empty()) return found;
  return Status(Code::kNotFound,
                "the index knows no certificate of theirs that is good; look at "
                "'farcall ca list'");
}

Result<Certificates> whom(const security::CaFolder& ca, const RevokeOptions& options) {
  if (!options.certificate.empty()) {
    auto facts = security::describe_certificate(options.certificate);
    if (!facts.ok()) return facts.status();
    return Certificates{facts->who};
  }
  if (options.serial.empty()) return all_of(ca, options);
  const std::string serial = plain_serial(options.serial);
  auto issued = ca.issued();
  if (!issued.ok()) return issued.status();
  for (const security::Issued& one : issued.value()) {
    if (one.who.serial == serial) return Certificates{one.who};
  }
  security::PeerIdentity unknown;
  unknown.serial = serial;
  return Certificates{unknown};
}

int ca_revoke(const RevokeOptions& options) {
  const int ways = !options.certificate.empty() + !options.serial.empty() +
                   !options.tenant.empty() + !options.server.empty();
  if (ways != 1 || (options.tenant.empty() && !options.user.empty())) {
    fail(
        "say which: a certificate's file, --serial NUMBER, --server HOST, or --tenant NAME with or "
        "without --user NAME (farcall ca list shows them)");
    return kExitUsage;
  }
  auto ca = security::CaFolder::open(options.folder, authority_keys());
  if (!ca.ok()) return fail(ca.status());
  auto revoked = whom(ca.value(), options);
  if (!revoked.ok()) return fail(revoked.status());
  Status done = ca->revoke(revoked.value(), options.reason, options.days);
  if (!done.ok()) return fail(done);
  for (const security::PeerIdentity& who : revoked.value()) {
    std::printf("revoked %s%s%s\n", who.serial.c_str(), who.pool.empty() ? "" : ", ",
                who.pool.empty() ? "" : security::identity_uri(who).c_str());
  }
  say_list(ca.value());
  std::printf(
      "bring it to every server (farcall-server --deny-list FILE): sessions end there "
      "within a second\n");
  return 0;
}

int ca_deny_list(const RevokeOptions& options) {
  auto ca = security::CaFolder::open(options.folder, authority_keys());
  if (!ca.ok()) return fail(ca.status());
  if (Status done = ca->revoke({}, "", options.days); !done.ok()) return fail(done);
  say_list(ca.value());
  return 0;
}

void add_whom(CLI::App* revoke, RevokeOptions* options) {
  revoke->add_option("certificate", options->certificate, "its file, PEM; or one of the next");
  revoke->add_option("--serial", options->serial, "its number, as farcall ca list has it");
  revoke->add_option("--tenant", options->tenant, "all that this tenant's users have");
  revoke->add_option("--user", options->user, "of these, this user's");
  revoke->add_option("--server", options->server, "all that this host has");
  revoke->add_option("--reason", options->reason, "what the other side is told")
      ->check(CLI::IsMember(security::revocation_reasons()));
}

}  // namespace

void add_ca_revoke(CLI::App& ca, Act* act) {
  auto options = std::make_shared<RevokeOptions>();
  auto* revoke = ca.add_subcommand("revoke", "Let the holder of a certificate in no longer");
  add_whom(revoke, options.get());
  auto* deny_list = ca.add_subcommand("deny-list", "Date the list of revoked certificates anew");
  for (auto* command : {revoke, deny_list}) {
    command->add_option("--dir", options->folder, "the authority's folder")->capture_default_str();
    command->add_option("--days", options->days, "how long servers take the list for good")
        ->check(CLI::Range(1, security::kCaDays))
        ->capture_default_str();
  }
  revoke->footer(
      "Writes DIR/deny.crl, a revocation list (RFC 5280) signed by the pool's authority. Servers "
      "that\n"
      "were started with --deny-list and a copy of it (or it) notice a new one by themselves and "
      "end\n"
      "the sessions of whoever is on it. What is revoked is a certificate: its holder gets in "
      "again\n"
      "with a new one. Exit status: 0 revoked, 2 wrong usage, 125 not revoked.\n"
      "Examples:\n  farcall ca revoke ana.crt --reason key-compromise\n"
      "  farcall ca revoke --tenant vision --user ana\n"
      "  farcall ca revoke --serial 4f1e22c9d0b35a6f8c7d9e0011223344");
  deny_list->footer(
      "A server does not start with a list past its date: date it anew before, for instance "
      "weekly.\n"
      "It makes an empty one, too, for a pool in which nothing was revoked yet.\n"
      "Example:\n  farcall ca deny-list --days 30 && scp ca/deny.crl gpu1:/etc/farcall/");
  revoke->callback([options, act] { *act = [options] { return ca_revoke(*options); }; });
  deny_list->callback([options, act] { *act = [options] { return ca_deny_list(*options); }; });
}

}  // namespace farcall::cli
