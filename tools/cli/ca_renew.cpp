// farcall ca renew: a certificate's life from now on, everything else as it was.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "security/ca_folder.h"
#include "security/file.h"
#include "tools/cli/authority_keys.h"
#include "tools/cli/ca_commands.h"
#include "tools/cli/commands.h"

namespace farcall::cli {
namespace {

struct RenewOptions {
  std::string folder = "ca";
  std::string certificate;
  std::string key;  // where a new one goes; default: beside the certificate
  bool new_key = false;
  int days = security::kLeafDays;
};

std::string key_path(const RenewOptions& options) {
  if (!options.key.empty()) return options.key;
  const std::string& path = options.certificate;
  return (path.ends_with(".crt") ? path.substr(0, path.size() - 4) : path) + ".key";
}

int ca_renew(const RenewOptions& options) {
  if (!options.key.empty() && !options.new_key) {
    fail("--key says where a new key goes: say --new-key, too, or leave it out");
    return kExitUsage;
  }
  auto ca = security::CaFolder::open(options.folder, authority_keys());
  if (!ca.ok()) return fail(ca.status());
  auto renewed = ca->renew(options.certificate, options.days, options.new_key);
  if (!renewed.ok()) return fail(renewed.status());
  // The key first: whoever watches the two waits for the certificate that fits.
  if (options.new_key) {
    Status put = security::replace_file(key_path(options), renewed->key_pem.bytes(), 0600);
    if (!put.ok()) return fail(put);
  }
  const std::string& text = renewed->certificate_pem;
  Status put = security::replace_file(options.certificate, std::as_bytes(std::span(text)), 0644);
  if (!put.ok()) return fail(put);
  auto facts = security::describe_certificate(options.certificate);
  if (!facts.ok()) return fail(facts.status());
  std::printf("%s: %s, valid until %s%s\n", options.certificate.c_str(),
              security::identity_uri(facts->who).c_str(),
              security::date_text(facts->not_after).c_str(),
              options.new_key ? (", new key in " + key_path(options)).c_str() : "");
  return 0;
}

}  // namespace

void add_ca_renew(CLI::App& ca, Act* act) {
  auto options = std::make_shared<RenewOptions>();
  auto* renew = ca.add_subcommand("renew", "Give a certificate another life");
  renew->add_option("certificate", options->certificate, "its file, PEM; replaced")->required();
  renew->add_option("--dir", options->folder, "the authority's folder")->capture_default_str();
  renew->add_flag(
      "--new-key", options->new_key,
      "make another private key, too; the images a server keeps for a client are sealed "
      "by its key and are sent anew then");
  renew->add_option("--key", options->key, "where the new key goes; default: CERTIFICATE.key");
  renew->add_option("--days", options->days, "days it is valid, up to 30")
      ->check(CLI::Range(1, security::kLeafDaysMax))
      ->capture_default_str();
  renew->footer(
      "The same identity, names and purpose; the private key need not be here. A server that uses "
      "the\n"
      "file takes the new one by itself, and its sessions go on. The former certificate stays "
      "good\n"
      "until it expires; revoke it if that is not what you want.\n"
      "Examples:\n  farcall ca renew /etc/farcall/gpu1.crt\n"
      "  farcall ca renew ana.crt --new-key --days 14");
  renew->callback([options, act] { *act = [options] { return ca_renew(*options); }; });
}

}  // namespace farcall::cli
