// farcall ca: a pool's certificate authority in a folder, ca.crt and ca.key.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <memory>

#include "security/ca.h"
#include "security/identity.h"
#include "tools/cli/commands.h"
#include "tools/cli/families.h"

namespace farcall::cli {
namespace {

struct CaInitOptions {
  std::string folder = "ca";
  std::string pool = "farcall";
};

struct CaIssueOptions {
  std::string folder = "ca";
  std::string server;  // a server's host name, or
  std::vector<std::string> names;
  std::string tenant;  // a client's tenant and user
  std::string user;
  std::string out;  // path without suffix; default: the host or the user
  int days = 7;
};

struct CaOptions {
  CaInitOptions init;
  CaIssueOptions issue;
  std::string shown;
};

std::string certificate_of(const std::string& folder) { return folder + "/ca.crt"; }
std::string key_of(const std::string& folder) { return folder + "/ca.key"; }

int ca_init(const CaInitOptions& options) {
  std::error_code error;
  std::filesystem::create_directories(options.folder, error);
  if (error) return fail("cannot make " + options.folder + ": " + error.message());
  auto ca = security::create_ca({.pool = options.pool});
  if (!ca.ok()) return fail(ca.status());
  Status saved = security::save(ca.value(), certificate_of(options.folder), key_of(options.folder));
  if (!saved.ok()) return fail(saved);
  std::printf("%s: the authority of pool '%s'; copy it to every host of the pool\n",
              certificate_of(options.folder).c_str(), options.pool.c_str());
  std::printf("%s: its key; whoever has it can let anyone in: keep it here\n",
              key_of(options.folder).c_str());
  return 0;
}

int ca_issue(const CaIssueOptions& options) {
  const bool for_server = !options.server.empty();
  if (for_server == (!options.tenant.empty() || !options.user.empty())) {
    fail("say for whom: --server HOST, or --tenant NAME --user NAME");
    return kExitUsage;
  }
  if (!std::filesystem::exists(certificate_of(options.folder))) {
    return fail("no authority in " + options.folder + ": make one with 'farcall ca init --dir " +
                options.folder + "'");
  }
  auto ca = security::load(certificate_of(options.folder), key_of(options.folder));
  if (!ca.ok()) return fail(ca.status());
  security::LeafOptions leaf;
  leaf.use = for_server ? security::Use::kServer : security::Use::kClient;
  leaf.host = options.server;
  leaf.names = options.names;
  if (for_server && leaf.names.empty()) leaf.names.push_back(options.server);
  leaf.tenant = options.tenant;
  leaf.user = options.user;
  leaf.days = options.days;
  auto issued = security::issue(ca.value(), leaf);
  if (!issued.ok()) return fail(issued.status());
  const std::string out = !options.out.empty() ? options.out
                          : for_server         ? options.server
                                               : options.user;
  if (Status saved = security::save(issued.value(), out + ".crt", out + ".key"); !saved.ok()) {
    return fail(saved);
  }
  std::printf("%s.crt, %s.key: valid for %d days\n", out.c_str(), out.c_str(), options.days);
  return 0;
}

int ca_show(const std::string& certificate_path) {
  auto facts = security::describe_certificate(certificate_path);
  if (!facts.ok()) return fail(facts.status());
  const security::CertificateFacts& it = facts.value();
  std::printf("identity     %s\n", security::identity_uri(it.who).c_str());
  std::printf("purpose      %s\n", it.for_server   ? "server"
                                   : it.for_client ? "client"
                                                   : "authority");
  std::printf("valid from   %s\n", security::date_text(it.not_before).c_str());
  std::printf("valid until  %s%s\n", security::date_text(it.not_after).c_str(),
              it.not_after < std::time(nullptr) ? "  (expired)" : "");
  std::printf("issued by    %s\n", it.issuer.c_str());
  std::printf("serial       %s\n", it.who.serial.c_str());
  std::printf("SHA-256      %s\n", it.fingerprint.c_str());
  return 0;
}

}  // namespace

void add_ca(CLI::App& app, Act* act) {
  // Lives as long as the parser, whose callbacks fill it.
  auto options = std::make_shared<CaOptions>();
  auto* ca = app.add_subcommand("ca", "The pool's certificate authority");
  ca->footer(
      "Examples:\n  farcall ca init --pool lab\n  farcall ca issue --server gpu1.lab.example");
  ca->require_subcommand(1);
  auto* init = ca->add_subcommand("init", "Make an authority: ca.crt and ca.key");
  init->add_option("--dir", options->init.folder, "folder for it")->capture_default_str();
  init->add_option("--pool", options->init.pool, "the pool's name")->capture_default_str();
  auto* issue = ca->add_subcommand("issue", "Issue a certificate to a server or a user");
  issue->add_option("--dir", options->issue.folder, "the authority's folder")
      ->capture_default_str();
  issue->add_option("--server", options->issue.server, "host name of a server");
  issue
      ->add_option("--names", options->issue.names,
                   "DNS names and addresses clients dial; default: the host name")
      ->delimiter(',');
  issue->add_option("--tenant", options->issue.tenant, "a user's tenant");
  issue->add_option("--user", options->issue.user, "a user's name");
  issue->add_option("--days", options->issue.days, "days it is valid, up to 30")
      ->check(CLI::Range(1, 30))
      ->capture_default_str();
  issue->add_option("--out", options->issue.out, "write OUT.crt and OUT.key; default: the name");
  issue->footer(
      "Examples:\n  farcall ca issue --server gpu1.lab.example --names "
      "gpu1.lab.example,10.0.0.7\n  farcall ca issue --tenant vision --user ana");
  auto* show = ca->add_subcommand("show", "Say what a certificate says");
  show->add_option("certificate", options->shown, "PEM file")->required();
  init->callback([options, act] { *act = [options] { return ca_init(options->init); }; });
  issue->callback([options, act] { *act = [options] { return ca_issue(options->issue); }; });
  show->callback([options, act] { *act = [options] { return ca_show(options->shown); }; });
}

}  // namespace farcall::cli
