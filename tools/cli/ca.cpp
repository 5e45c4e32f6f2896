// farcall ca: a pool's certificate authorities in a folder.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <memory>

#include "security/ca_folder.h"
#include "security/identity.h"
#include "security/token_keys.h"
#include "tools/cli/authority_keys.h"
#include "tools/cli/ca_commands.h"
#include "tools/cli/commands.h"
#include "tools/cli/families.h"
#include "tools/cli/units.h"

namespace farcall::cli {
namespace {

struct CaInitOptions {
  std::string folder = "ca";
  std::string pool = "farcall";
  bool single = false;   // no issuing authority
  bool issuing = false;  // another one, below the root that is there
  int days = security::kCaDays;
  security::KeyPlaces keys;
  security::TokenPlaces places;
};

struct CaIssueOptions {
  std::string folder = "ca";
  std::string server;  // a server's host name, or
  std::vector<std::string> names;
  std::string tenant;  // a client's tenant and user
  std::string user;
  std::string zone;
  std::string role;
  std::string out;  // path without suffix; default: the host or the user
  int days = security::kLeafDays;
  std::string life;  // instead of days
};

struct CaOptions {
  CaInitOptions init;
  CaIssueOptions issue;
  std::string shown;
};

int ca_make_issuing(const std::string& folder, const security::KeyPlaces& keys) {
  auto ca = security::CaFolder::open(folder, authority_keys());
  if (!ca.ok()) return fail(ca.status());
  if (Status made = ca->make_issuing(keys); !made.ok()) return fail(made);
  auto facts = security::describe_certificate(folder + "/issuing.crt");
  if (!facts.ok()) return fail(facts.status());
  std::printf(
      "%s/issuing.crt: issues from now on, until %s; what its predecessor issued stays as good as\n"
      "  it was, and no host needs another ca.crt. Take the root's key offline again\n",
      folder.c_str(), security::date_text(facts->not_after).c_str());
  return 0;
}

// With module and PIN file in the URIs, where later commands find them.
Status complete(CaInitOptions* options) {
  for (std::string* uri : {&options->keys.root, &options->keys.issuing}) {
    if (uri->empty()) continue;
    auto whole = security::complete_token_uri(*uri, options->places);
    if (!whole.ok()) return whole.status();
    *uri = whole.value();
  }
  const bool none = options->keys.root.empty() && options->keys.issuing.empty();
  if (none && (options->keys.existing || !options->places.module.empty() ||
               !options->places.pin_file.empty())) {
    return {Code::kUnsupported,
            "this is said of a key in a token: --root-key or --issuing-key is missing"};
  }
  return ok();
}

void say_key(const std::string& folder, const char* name, const std::string& uri) {
  if (uri.empty()) {
    std::printf("%s/%s.key: its key; ", folder.c_str(), name);
  } else {
    std::printf("%s/%s.key-uri: where its key lies, which is in no file; ", folder.c_str(), name);
  }
}

int ca_init(CaInitOptions options) {
  if (Status sound = complete(&options); !sound.ok()) {
    fail(sound);
    return kExitUsage;
  }
  if (options.issuing) return ca_make_issuing(options.folder, options.keys);
  std::error_code error;
  std::filesystem::create_directories(options.folder, error);
  if (error) return fail("cannot make " + options.folder + ": " + error.message());
  Status made = security::CaFolder::create(options.folder,
                                           {.pool = options.pool,
                                            .issuing = !options.single,
                                            .days = options.days,
                                            .keys = options.keys},
                                           authority_keys());
  if (!made.ok()) return fail(made);
  const char* folder = options.folder.c_str();
  std::printf("%s/ca.crt: the authority of pool '%s'; copy it to every host of the pool\n", folder,
              options.pool.c_str());
  if (options.single) {
    say_key(options.folder, "ca", options.keys.root);
    std::printf("whoever has it can let anyone in: keep it here\n");
    return 0;
  }
  say_key(options.folder, "ca", options.keys.root);
  std::printf(
      "take it offline, for instance to a safe: it is needed again in a\n"
      "  year only, for another issuing authority, or to revoke this one\n");
  std::printf("%s/issuing.crt: the authority that issues\n", folder);
  say_key(options.folder, "issuing", options.keys.issuing);
  std::printf(
      "whoever has it can\n"
      "  let anyone in until it is revoked: keep it here\n");
  return 0;
}

int ca_issue(const CaIssueOptions& options) {
  const bool for_server = !options.server.empty();
  if (for_server == (!options.tenant.empty() || !options.user.empty())) {
    fail("say for whom: --server HOST, or --tenant NAME --user NAME");
    return kExitUsage;
  }
  auto ca = security::CaFolder::open(options.folder, authority_keys());
  if (!ca.ok()) return fail(ca.status());
  security::LeafOptions leaf;
  leaf.use = for_server ? security::Use::kServer : security::Use::kClient;
  leaf.host = options.server;
  leaf.names = options.names;
  if (for_server && leaf.names.empty()) leaf.names.push_back(options.server);
  leaf.tenant = options.tenant;
  leaf.user = options.user;
  leaf.zone = options.zone;
  leaf.role = options.role;
  leaf.days = options.days;
  if (!options.life.empty()) {
    auto life = parse_duration(options.life);
    if (!life.ok()) return fail(life.status());
    leaf.seconds = life.value();
  }
  auto issued = ca->issue(leaf);
  if (!issued.ok()) return fail(issued.status());
  const std::string out = !options.out.empty() ? options.out
                          : for_server         ? options.server
                                               : options.user;
  if (Status saved = security::save(issued.value(), out + ".crt", out + ".key"); !saved.ok()) {
    return fail(saved);
  }
  const std::string life =
      options.life.empty() ? std::to_string(options.days) + " days" : duration_text(leaf.seconds);
  std::printf("%s.crt, %s.key: valid for %s\n", out.c_str(), out.c_str(), life.c_str());
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
  std::printf("SHA-256      %s\n", it.who.fingerprint.c_str());
  return 0;
}

void add_token_keys(CLI::App* init, CaInitOptions* to) {
  init->add_option("--root-key", to->keys.root,
                   "make the root's key in a token, by its URI (RFC 7512): "
                   "pkcs11:token=LABEL;object=NAME; default: a file")
      ->excludes("--issuing");
  init->add_option("--issuing-key", to->keys.issuing, "the same of the issuing authority's key")
      ->excludes("--single");
  init->add_flag("--existing-keys", to->keys.existing,
                 "use the P-256 keys of these names that the token has");
  init->add_option("--pkcs11-module", to->places.module,
                   "the token's module, whole path; default: those that p11-kit knows");
  init->add_option("--pin-file", to->places.pin_file,
                   "file with the token's PIN, whole path, as ?pin-source=file:PATH in the URI; "
                   "default: it is asked for");
}

void add_init(CLI::App& ca, const std::shared_ptr<CaOptions>& options, Act* act) {
  auto* init = ca.add_subcommand("init", "Make the pool's root and its issuing authority");
  init->add_option("--dir", options->init.folder, "folder for them")->capture_default_str();
  init->add_option("--pool", options->init.pool, "the pool's name")->capture_default_str();
  init->add_option("--days", options->init.days, "days the root is valid; what it issues has less")
      ->check(CLI::Range(1, security::kCaDays))
      ->capture_default_str();
  init->add_flag("--single", options->init.single,
                 "one key for both: simpler, but it lies where certificates are issued, and if it "
                 "is lost every host needs another ca.crt");
  init->add_flag("--issuing", options->init.issuing,
                 "make another issuing authority below the root that is there, whose key must be; "
                 "it lives a year, and leaves no longer than it")
      ->excludes("--single")
      ->excludes("--pool")
      ->excludes("--days");
  add_token_keys(init, &options->init);
  init->footer(
      "A key in a token (smart card, HSM, SoftHSM2) is made there and never leaves it. Its URI, "
      "with "
      "the\n"
      "paths of module and PIN file, is kept as DIR/ca.key-uri or DIR/issuing.key-uri for the "
      "other "
      "commands;\n"
      "without a PIN file they ask on the terminal. A PIN that is refused is not tried again.\n"
      "Examples:\n  farcall ca init --pool lab --dir /etc/farcall/ca\n"
      "  farcall ca init --pool lab --root-key 'pkcs11:token=lab;object=root' \\\n"
      "    --issuing-key 'pkcs11:token=lab;object=issuing' --pin-file /etc/farcall/pin \\\n"
      "    --pkcs11-module /usr/lib/softhsm/libsofthsm2.so\n"
      "  farcall ca init --issuing --dir /etc/farcall/ca");
  init->callback([options, act] { *act = [options] { return ca_init(options->init); }; });
}

void add_issue(CLI::App& ca, const std::shared_ptr<CaOptions>& options, Act* act) {
  CaIssueOptions& to = options->issue;
  auto* issue = ca.add_subcommand("issue", "Issue a certificate to a server or a user");
  issue->add_option("--dir", to.folder, "the authority's folder")->capture_default_str();
  issue->add_option("--server", to.server, "host name of a server");
  issue
      ->add_option("--names", to.names,
                   "DNS names and addresses clients dial; default: the host name")
      ->delimiter(',');
  issue->add_option("--tenant", to.tenant, "a user's tenant");
  issue->add_option("--user", to.user, "a user's name");
  issue->add_option("--zone", to.zone,
                    "trust zone it is for; farcall-server --client-zones asks for it");
  issue->add_option("--role", to.role, "role of its holder, for logs and policies");
  issue->add_option("--days", to.days, "days it is valid, up to 30")
      ->check(CLI::Range(1, security::kLeafDaysMax))
      ->capture_default_str();
  issue->add_option("--life", to.life, "the same in other units, 10s to 30d: 12h, 90m")
      ->excludes("--days");
  issue->add_option("--out", to.out, "write OUT.crt and OUT.key; default: the name");
  issue->footer(
      "Examples:\n  farcall ca issue --server gpu1.lab.example --names "
      "gpu1.lab.example,10.0.0.7\n  farcall ca issue --tenant vision --user ana --zone lab");
  issue->callback([options, act] { *act = [options] { return ca_issue(options->issue); }; });
}

}  // namespace

void add_ca(CLI::App& app, Act* act) {
  // Lives as long as the parser, whose callbacks fill it.
  auto options = std::make_shared<CaOptions>();
  auto* ca = app.add_subcommand("ca", "The pool's certificate authority");
  ca->footer(
      "Examples:\n  farcall ca init --pool lab\n  farcall ca issue --server gpu1.lab.example\n"
      "  farcall ca list --due\n  farcall ca renew ana.crt\n"
      "  farcall ca revoke ana.crt --reason key-compromise");
  ca->require_subcommand(1);
  add_init(*ca, options, act);
  add_issue(*ca, options, act);
  auto* show = ca->add_subcommand("show", "Say what a certificate says");
  show->add_option("certificate", options->shown, "PEM file")->required();
  show->callback([options, act] { *act = [options] { return ca_show(options->shown); }; });
  add_ca_renew(*ca, act);
  add_ca_list(*ca, act);
  add_ca_revoke(*ca, act);
  add_ca_serve(*ca, act);
  add_ca_keep(*ca, act);
}

}  // namespace farcall::cli
