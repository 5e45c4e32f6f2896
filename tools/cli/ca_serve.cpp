// farcall ca serve, token, join, keep: certificates that come and are renewed over the network.
#include <signal.h>
#include <sys/signalfd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>

#include "security/ca_folder.h"
#include "security/tpm.h"
#include "tools/cli/authority_keys.h"
#include "tools/cli/authority_server.h"
#include "tools/cli/ca_commands.h"
#include "tools/cli/commands.h"
#include "tools/cli/units.h"
#include "transport/base/log.h"
#include "transport/link/authority.h"
#include "transport/link/dial.h"

namespace farcall::cli {
namespace {

struct ServeOptions {
  std::string folder = "ca";
  std::string listen = "0.0.0.0:7718";
  std::vector<std::string> names;
  std::string life = "7d";
  std::string attest = "off";
  std::string golden;
  std::string attested_life = "15m";
  std::string port_file;
};

struct TokenOptions {
  std::string folder = "ca";
  std::string server;
  std::vector<std::string> names;
  std::string zone;
  std::string role;
  std::string valid = "15m";
  std::string life = "7d";
};

struct JoinOptions {
  std::string token;
  std::string authority;
  std::string out = ".";
  std::string tpm;       // TCTI; empty: no quote
  std::string manifest;  // whose digest the quote is to say
};

// Signals are read from a descriptor, so that nothing of ours runs in a handler.
Result<Fd> take_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT}) ::sigaddset(&set, signal);
  ::signal(SIGPIPE, SIG_IGN);
  if (::pthread_sigmask(SIG_BLOCK, &set, nullptr) != 0) return Status::system("block signals");
  Fd fd(::signalfd(-1, &set, SFD_CLOEXEC));
  if (!fd) return Status::system("make a signalfd");
  return fd;
}

// "host:port", of which the port may be 0.
Status parse_listen(const std::string& text, AuthorityServerOptions* options) {
  const std::size_t colon = text.rfind(':');
  const std::string port = colon == std::string::npos ? "" : text.substr(colon + 1);
  if (port == "0") {
    options->host = text.substr(0, colon);
    return ok();
  }
  link::DialOptions place;
  FARCALL_TRY(link::parse_server(text, &place));
  options->host = place.host;
  options->port = place.port;
  return ok();
}

// What of the service's settings has to be parsed.
Result<security::AuthorityService::Settings> settings_of(const ServeOptions& options) {
  auto life = parse_duration(options.life);
  if (!life.ok()) return life.status();
  auto attested_life = parse_duration(options.attested_life);
  if (!attested_life.ok()) return attested_life.status();
  auto need = security::parse_attest_need(options.attest);
  if (!need.ok()) return need.status();
  if (attested_life.value() < security::kLeafSecondsMin) {
    return Status(Code::kUnsupported, "--attested-life is 10s at least");
  }
  return security::AuthorityService::Settings{
      .folder = options.folder,
      .life_seconds = life.value(),
      .names = options.names,
      .keys = authority_keys(),
      .attestation = {.need = need.value(),
                      .golden_path = options.golden,
                      .life_seconds = attested_life.value()}};
}

int ca_serve(const ServeOptions& options) {
  auto settings = settings_of(options);
  if (!settings.ok()) return fail(settings.status());
  AuthorityServerOptions server_options;
  if (Status sound = parse_listen(options.listen, &server_options); !sound.ok()) {
    fail(sound);
    return kExitUsage;
  }
  server_options.service = std::move(settings).value();
  log_from_environment(LogLevel::kInfo);
  auto signals = take_signals();
  if (!signals.ok()) return fail(signals.status());
  auto server = AuthorityServer::open(std::move(server_options));
  if (!server.ok()) return fail(server.status());
  const unsigned port = server.value()->port();
  if (!options.port_file.empty() && !(std::ofstream(options.port_file) << port << '\n').flush()) {
    return fail("cannot write " + options.port_file);
  }
  std::printf("the authority in %s listens on port %u\n", options.folder.c_str(), port);
  std::fflush(stdout);
  Status done = server.value()->run(signals->get());
  return done.ok() ? 0 : fail(done);
}

int ca_token(const TokenOptions& options) {
  auto valid = parse_duration(options.valid);
  if (!valid.ok()) return fail(valid.status());
  auto life = parse_duration(options.life);
  if (!life.ok()) return fail(life.status());
  auto ca = security::CaFolder::open(options.folder);
  if (!ca.ok()) return fail(ca.status());
  security::JoinGrant grant;
  grant.who.host = options.server;
  grant.who.zone = options.zone;
  grant.who.role = options.role;
  grant.names = options.names;
  if (grant.names.empty()) grant.names.push_back(options.server);
  grant.life_seconds = life.value();
  auto token = ca->make_token(std::move(grant), valid.value());
  if (!token.ok()) return fail(token.status());
  std::printf("%s\n", token->c_str());
  return 0;
}

int ca_join(const JoinOptions& options) {
  auto place = link::parse_authority(options.authority);
  if (!place.ok()) {
    fail(place.status());
    return kExitUsage;
  }
  std::string token = options.token;
  if (token == "-") std::getline(std::cin, token);
  std::error_code error;
  std::filesystem::create_directories(options.out, error);
  if (error) return fail("cannot make " + options.out + ": " + error.message());
  security::Attester attester;
  if (!options.tpm.empty()) attester = security::attester_of(options.tpm, options.manifest);
  auto certificate = link::join_pool(place.value(), token, options.out, attester);
  if (!certificate.ok()) return fail(certificate.status());
  auto facts = security::describe_certificate(certificate.value());
  if (!facts.ok()) return fail(facts.status());
  std::printf("%s: %s, valid until %s; its key and the pool's ca.crt lie beside it\n",
              certificate->c_str(), security::identity_uri(facts->who).c_str(),
              security::date_text(facts->not_after).c_str());
  return 0;
}

void add_serve(CLI::App& ca, Act* act) {
  auto options = std::make_shared<ServeOptions>();
  auto* serve = ca.add_subcommand("serve", "Renew certificates and let servers join, over TLS");
  serve->add_option("--dir", options->folder, "the authority's folder")->capture_default_str();
  serve->add_option("--listen", options->listen, "host:port; port 0 takes a free one")
      ->capture_default_str();
  serve->add_option("--names", options->names, "DNS names and addresses that members dial")
      ->delimiter(',')
      ->required();
  serve
      ->add_option("--life", options->life,
                   "what leaves live for, 10s to 30d; members renew when half of it is over")
      ->capture_default_str();
  serve
      ->add_option("--attest", options->attest,
                   "give servers certificates only against quotes of their TPMs: require (all "
                   "servers), known (those that joined with one) or off")
      ->check(CLI::IsMember({"off", "known", "require"}))
      ->capture_default_str();
  serve->add_option("--golden", options->golden,
                    "what their PCRs may be (farcall attest golden), read again for each quote; "
                    "default: DIR/golden.toml");
  serve
      ->add_option("--attested-life", options->attested_life,
                   "what such certificates live for: a server that was altered is out after this")
      ->capture_default_str();
  serve->add_option("--port-file", options->port_file, "write the port here");
  serve->footer(
      "Members show their certificate and get its successor: same name, zone, role and names. Who\n"
      "was revoked, has expired or is not in the index is refused; a server without a certificate\n"
      "needs a token (farcall ca token). All of it stands in DIR/ca-audit (farcall audit search).\n"
      "DIR/deny.crl is dated anew every day. The root's key need not be here.\n"
      "SIGTERM ends it. Exit status: 0 told to end, 2 wrong usage, 125 it cannot serve.\n"
      "Example:\n  farcall ca serve --dir /etc/farcall/ca --names ca.lab.example,10.0.0.9");
  serve->callback([options, act] { *act = [options] { return ca_serve(*options); }; });
}

void add_token(CLI::App& ca, Act* act) {
  auto options = std::make_shared<TokenOptions>();
  auto* token = ca.add_subcommand("token", "Make a one-time token for a new server to join with");
  token->add_option("--dir", options->folder, "the authority's folder")->capture_default_str();
  token->add_option("--server", options->server, "host name that it will have")->required();
  token
      ->add_option("--names", options->names,
                   "DNS names and addresses clients dial; default: the host name")
      ->delimiter(',');
  token->add_option("--zone", options->zone, "trust zone it is for");
  token->add_option("--role", options->role, "role of the server, for logs and policies");
  token->add_option("--valid", options->valid, "how long the token is good, up to 7d")
      ->capture_default_str();
  token->add_option("--life", options->life, "what its certificates live for, 10s to 30d")
      ->capture_default_str();
  token->footer(
      "Prints the token, which says whom to trust and lets its bearer in once, under this name "
      "and\n"
      "no other: bring it to the server like a password.\n"
      "Example:\n  farcall ca token --server gpu7.lab.example --zone lab");
  token->callback([options, act] { *act = [options] { return ca_token(*options); }; });
}

void add_join(CLI::App& ca, Act* act) {
  auto options = std::make_shared<JoinOptions>();
  auto* join = ca.add_subcommand("join", "Get a new server's first certificate, by a token");
  join->add_option("token", options->token, "what farcall ca token printed; - reads it")
      ->required();
  join->add_option("--ca", options->authority,
                   "host:port of farcall ca serve, or NAME@host:port where it has another name")
      ->required();
  join->add_option("--out", options->out, "folder for NAME.crt, NAME.key and ca.crt")
      ->capture_default_str();
  join->add_option("--tpm", options->tpm,
                   "this machine's TPM, as tpm2-tss names it (device:/dev/tpmrm0): its key is "
                   "registered for the server, which needs it from then on (farcall-server --tpm)");
  join->add_option(
      "--manifest", options->manifest,
      "the signed manifest that farcall-server will go by, for the TPM to sign as well");
  join->footer(
      "The key is made here and stays here. The authority proves itself by the hash in the token\n"
      "before that is shown to it. Exit status: 0 joined, 2 wrong usage, 125 not.\n"
      "Example:\n  farcall ca join - --ca ca.lab.example:7718 --out /etc/farcall < token");
  join->callback([options, act] { *act = [options] { return ca_join(*options); }; });
}

}  // namespace

void add_ca_serve(CLI::App& ca, Act* act) {
  add_serve(ca, act);
  add_token(ca, act);
  add_join(ca, act);
}

}  // namespace farcall::cli
