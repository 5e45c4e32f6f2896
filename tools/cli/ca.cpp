// farcall ca: a pool's certificate authority in a folder, ca.crt and ca.key.
#include <cstdio>
#include <ctime>
#include <filesystem>

#include "security/ca.h"
#include "security/identity.h"
#include "tools/cli/commands.h"

namespace farcall::cli {
namespace {

std::string certificate_of(const std::string& folder) { return folder + "/ca.crt"; }
std::string key_of(const std::string& folder) { return folder + "/ca.key"; }

}  // namespace

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

}  // namespace farcall::cli
