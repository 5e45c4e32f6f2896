// farcall attest: quotes of TPMs, made, checked and turned into golden sets.
#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "security/attested.h"
#include "security/ca_folder.h"
#include "security/crypto.h"
#include "security/file.h"
#include "security/golden.h"
#include "security/identity.h"
#include "security/key_request.h"
#include "security/quote.h"
#include "security/tpm.h"
#include "tools/cli/commands.h"
#include "tools/cli/families.h"
#include "transport/base/limits_quote.h"

namespace farcall::cli {
namespace {

// What a quote is for, as words of a command.
struct AskedFor {
  std::string nonce;
  std::string certificate;
};

struct QuoteOptions {
  std::string tcti;
  AskedFor asked;
  std::string manifest;
  std::string out;
};

struct VerifyOptions {
  std::string file;
  AskedFor asked;
  std::string key;
  std::string golden;
  std::string server;
};

struct GoldenOptions {
  std::string file;
  AskedFor asked;
  std::string name = "servers";
  std::vector<std::string> servers;
  std::string pcrs = "0-7";
};

Result<security::QuoteBinding> binding_of(const AskedFor& asked) {
  security::QuoteBinding binding;
  if (!asked.nonce.empty()) {
    auto nonce = security::parse_sha256(asked.nonce);
    if (!nonce.ok()) return Status(Code::kUnsupported, "--nonce: 64 hexadecimal digits");
    binding.nonce = nonce.value();
  }
  if (!asked.certificate.empty()) {
    auto key = security::hash_of_certified_key(asked.certificate);
    if (!key.ok()) return key.status();
    binding.tls_key = key.value();
  }
  return binding;
}

Result<security::Quote> read_quote(const std::string& path) {
  auto bytes = security::read_file(path, limits::kQuoteBytesMax);
  if (!bytes.ok()) return bytes.status();
  auto quote = security::parse_quote(bytes->bytes());
  if (quote.ok()) return quote;
  return Status(quote.status().code(), path + ": " + quote.status().text());
}

// "0-7,16"
Result<std::uint32_t> parse_pcrs(std::string_view text) {
  const auto wrong = Status(Code::kUnsupported, "--pcrs takes numbers and ranges, 0 to 23: 0-7,16");
  std::uint32_t mask = 0;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(std::min(part.size() + 1, text.size()));
    std::size_t first = 0;
    const char* end = part.data() + part.size();
    auto read = std::from_chars(part.data(), end, first);
    std::size_t last = first;
    if (read.ec == std::errc() && read.ptr != end && *read.ptr == '-') {
      read = std::from_chars(read.ptr + 1, end, last);
    }
    if (read.ec != std::errc() || read.ptr != end || last < first || last >= security::kPcrs) {
      return wrong;
    }
    for (std::size_t i = first; i <= last; ++i) mask |= std::uint32_t{1} << i;
  }
  if (mask == 0) return wrong;
  return mask;
}

void print_quote(const security::Quote& quote) {
  std::printf("key       %s\n", security::attestation_key_name(quote.key).c_str());
  std::printf("started   %u times, suspended %u times since; its TPM was on for %llu min\n",
              quote.clock.resets, quote.clock.restarts,
              static_cast<unsigned long long>(quote.clock.ms / 60'000));
  if (quote.manifest != security::Sha256{}) {
    std::printf("manifest  %s\n", security::to_hex(quote.manifest).c_str());
  }
  for (std::size_t i = 0; i < security::kPcrs; ++i) {
    if (!quote.pcrs.has(i)) continue;
    std::printf("PCR %-5zu %s\n", i, security::to_hex(quote.pcrs.values[i]).c_str());
  }
}

int attest_show(const QuoteOptions& options) {
  auto quote = security::make_quote(options.tcti, {});
  if (!quote.ok()) return fail(quote.status());
  print_quote(quote.value());
  return 0;
}

int attest_quote(const QuoteOptions& options) {
  auto binding = binding_of(options.asked);
  if (!binding.ok()) return fail(binding.status());
  auto bytes = security::attester_of(options.tcti, options.manifest)(binding.value());
  if (!bytes.ok()) return fail(bytes.status());
  Status put = security::replace_file(options.out, bytes.value(), 0644);
  return put.ok() ? 0 : fail(put);
}

int attest_verify(const VerifyOptions& options) {
  if (options.golden.empty() != options.server.empty()) {
    fail("--golden and --server belong together: which machine is it to be judged as?");
    return kExitUsage;
  }
  auto binding = binding_of(options.asked);
  if (!binding.ok()) return fail(binding.status());
  auto quote = read_quote(options.file);
  if (!quote.ok()) return fail(quote.status());
  Status good = security::check_quote(quote.value(), binding.value());
  const std::string key = security::attestation_key_name(quote->key);
  if (good.ok() && !options.key.empty() && options.key != key) {
    good = Status(Code::kDenied, "the quote is of another TPM: its key is " + key);
  }
  if (good.ok() && !options.golden.empty()) {
    auto set = security::load_golden(options.golden);
    if (!set.ok()) return fail(set.status());
    good = security::judge(set.value(), options.server, quote.value());
  }
  if (!good.ok()) return fail(good);
  print_quote(quote.value());
  return 0;
}

int attest_golden(const GoldenOptions& options) {
  std::vector<std::string> words = options.servers;
  words.push_back(options.name);
  for (const std::string& word : words) {
    if (security::is_identity_word(word) || word == "*") continue;
    fail("\"" + word + "\" is no host name or class: A-Z a-z 0-9 . _ -");
    return kExitUsage;
  }
  auto mask = parse_pcrs(options.pcrs);
  auto binding = binding_of(options.asked);
  if (!mask.ok() || !binding.ok()) {
    fail(mask.ok() ? binding.status() : mask.status());
    return kExitUsage;
  }
  auto quote = read_quote(options.file);
  if (!quote.ok()) return fail(quote.status());
  Status good = security::check_quote(quote.value(), binding.value());
  if (!good.ok()) return fail(good);
  security::GoldenClass one{options.name, options.servers, {}, {}};
  for (std::size_t i = 0; i < security::kPcrs; ++i) {
    if ((mask.value() >> i & 1) == 0) continue;
    if (!quote->pcrs.has(i)) return fail("PCR " + std::to_string(i) + " is not in this quote");
    one.pcrs[i] = {quote->pcrs.values[i]};
  }
  if (quote->manifest != security::Sha256{}) one.manifests = {quote->manifest};
  std::fputs(security::golden_text(one).c_str(), stdout);
  return 0;
}

int attest_list(const std::string& folder) {
  auto ca = security::CaFolder::open(folder);
  if (!ca.ok()) return fail(ca.status());
  auto all = security::AttestedServers(ca->attested_path()).all();
  if (!all.ok()) return fail(all.status());
  for (const security::AttestedServer& one : all.value()) {
    std::printf("%-24s %s  last quote %s, started %u times\n", one.host.c_str(), one.key.c_str(),
                security::date_text(one.at).c_str(), one.clock.resets);
  }
  if (all->empty()) std::printf("no server has joined with a quote of its TPM\n");
  return 0;
}

void add_asked(CLI::App* command, AskedFor* asked) {
  command->add_option("--nonce", asked->nonce,
                      "32 bytes of the asker's choice, hexadecimal; default: zeros");
  command->add_option("--cert", asked->certificate,
                      "certificate whose key the quote is for; default: none");
}

void add_tcti(CLI::App* command, std::string* tcti) {
  command
      ->add_option("--tpm", *tcti,
                   "the TPM, as tpm2-tss names it: device:/dev/tpmrm0, or swtpm:path=SOCKET")
      ->default_val("device:/dev/tpmrm0");
}

void add_show(CLI::App& attest, Act* act) {
  auto options = std::make_shared<QuoteOptions>();
  auto* show = attest.add_subcommand("show", "What this machine's TPM says of it");
  add_tcti(show, &options->tcti);
  show->footer("Example:\n  farcall attest show");
  show->callback([options, act] { *act = [options] { return attest_show(*options); }; });
}

void add_quote(CLI::App& attest, Act* act) {
  auto options = std::make_shared<QuoteOptions>();
  auto* quote = attest.add_subcommand("quote", "Have this machine's TPM sign how it was started");
  add_tcti(quote, &options->tcti);
  add_asked(quote, &options->asked);
  quote->add_option("--manifest", options->manifest,
                    "the signed manifest that the quote is to say, too");
  quote->add_option("--out", options->out, "the quote; replaced")->required();
  quote->footer(
      "farcall-server --tpm and farcall ca join --tpm do this by themselves, for the authority's "
      "nonce.\nExample:\n  farcall attest quote --out gpu7.quote");
  quote->callback([options, act] { *act = [options] { return attest_quote(*options); }; });
}

void add_verify(CLI::App& attest, Act* act) {
  auto options = std::make_shared<VerifyOptions>();
  auto* verify = attest.add_subcommand("verify", "Check a quote, and show what it says");
  verify->add_option("quote", options->file, "file of farcall attest quote")->required();
  add_asked(verify, &options->asked);
  verify->add_option("--key", options->key, "the attestation key that it must be of (attest show)");
  verify->add_option("--golden", options->golden, "golden set to judge it by");
  verify->add_option("--server", options->server, "host name that it is judged as");
  verify->footer(
      "Needs no TPM. Exit status: 0 good, 2 wrong usage, 125 not.\nExample:\n"
      "  farcall attest verify gpu7.quote --nonce 9f86… --golden ca/golden.toml --server gpu7");
  verify->callback([options, act] { *act = [options] { return attest_verify(*options); }; });
}

void add_golden(CLI::App& attest, Act* act) {
  auto options = std::make_shared<GoldenOptions>();
  auto* golden = attest.add_subcommand("golden", "Print a golden set with the values of a quote");
  golden
      ->add_option("quote", options->file,
                   "file of farcall attest quote, of a machine that is as it should be")
      ->required();
  add_asked(golden, &options->asked);
  golden->add_option("--class", options->name, "a name for machines like it")
      ->capture_default_str();
  golden->add_option("--servers", options->servers, "their host names; \"*\": all others")
      ->delimiter(',')
      ->required();
  golden->add_option("--pcrs", options->pcrs, "PCRs that are to be as they are now")
      ->capture_default_str();
  golden->footer(
      "0 to 7 are firmware, its settings, boot loader and Secure Boot; 8 and 9, by GRUB, kernel "
      "and\n"
      "its command line, which change with each update of it. The file is TOML: add the values of\n"
      "other machines of the class to its lists by hand, and those of the next firmware before "
      "it.\n"
      "Example:\n  farcall attest golden gpu7.quote --class dl380 --servers gpu7,gpu8 > "
      "ca/golden.toml");
  golden->callback([options, act] { *act = [options] { return attest_golden(*options); }; });
}

void add_list(CLI::App& attest, Act* act) {
  auto folder = std::make_shared<std::string>("ca");
  auto* list = attest.add_subcommand("list", "List the servers whose TPMs an authority knows");
  list->add_option("--dir", *folder, "the authority's folder")->capture_default_str();
  list->footer("Example:\n  farcall attest list --dir /etc/farcall/ca");
  list->callback([folder, act] { *act = [folder] { return attest_list(*folder); }; });
}

}  // namespace

void add_attest(CLI::App& app, Act* act) {
  auto* attest = app.add_subcommand("attest", "How machines were started, signed by their TPMs");
  attest->require_subcommand(1);
  attest->footer(
      "farcall ca serve --attest require gives servers certificates against such quotes only.\n"
      "Example:\n  farcall attest quote --out gpu7.quote\n  farcall attest golden gpu7.quote "
      "--servers gpu7 > ca/golden.toml");
  add_show(*attest, act);
  add_quote(*attest, act);
  add_verify(*attest, act);
  add_golden(*attest, act);
  add_list(*attest, act);
}

}  // namespace farcall::cli
