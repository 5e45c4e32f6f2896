#include "gpu_server/manifest_options.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "security/measured_files.h"

namespace farcall::server {

namespace {

struct ManifestArguments {
  security::CodeOptions code;
  std::string unlisted = "refuse";
  std::string cache;  // "off", or empty: the usual place
};

// Nothing without a manifest.
std::optional<security::CodeOptions> code_options(const ManifestArguments& from) {
  if (from.code.manifest.empty()) return std::nullopt;
  security::CodeOptions options = from.code;
  options.refuse_unlisted = from.unlisted == "refuse";
  options.cache = from.cache.empty() ? security::default_measured_folder() : from.cache;
  if (from.cache == "off") options.cache.clear();
  return options;
}

}  // namespace

void declare_manifest(CLI::App& app, std::optional<security::CodeOptions>* to) {
  // Lives as long as the parser, which fills it.
  auto a = std::make_shared<ManifestArguments>();
  auto* manifest = app.add_option(
      "--manifest", a->code.manifest,
      "the signed manifest of this server's code (farcall manifest make): while a file of it was "
      "changed, no session is started; sessions that run go on");
  auto* keys = app.add_option("--manifest-keys", a->code.keys,
                              "whose signatures count: a PEM file, or a folder of *.pub");
  manifest->needs(keys);
  keys->needs(manifest);
  app.add_option("--manifest-approvals", a->code.approvals,
                 "exceptions from it, each until a date (farcall manifest approve); this file and "
                 "the manifest are taken within a second when they change")
      ->needs(manifest);
  app.add_option("--manifest-signatures", a->code.signatures,
                 "different keys that must have signed manifest and approvals")
      ->check(CLI::Range(std::size_t{1}, limits::kCosignersMax))
      ->capture_default_str();
  app.add_option("--manifest-unlisted", a->unlisted,
                 "what is loaded and not listed: refuse, or warn (only tell)")
      ->check(CLI::IsMember({"refuse", "warn"}))
      ->capture_default_str();
  app.add_option("--manifest-cache", a->cache,
                 "DIR or off: what was hashed is kept there, sealed, until the machine boots, so "
                 "that a start hashes only what changed; default: " +
                     security::default_measured_folder());
  app.callback([a, to] { *to = code_options(*a); });
}

}  // namespace farcall::server
