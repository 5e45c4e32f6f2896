// farcall: the command line of Farcall. Parsing only; commands.h has the acts.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <sstream>

#include "tools/cli/check.h"
#include "tools/cli/commands.h"
#include "tools/cli/families.h"
#include "transport/api/dispatch.h"
#include "transport/base/key_memory.h"
#include "transport/base/log.h"
#include "transport/base/switches.h"
#include "transport/link/dial.h"
#include "transport/link/server_list.h"

namespace farcall::cli {

namespace {

// Checks of CLI11: what is wrong with the text, or nothing.
std::string is_off_list(const std::string& text) {
  Status done = turn_off(text);
  return done.ok() ? std::string() : done.text();
}

std::string is_log_setting(const std::string& text) {
  LogLevel level;
  if (parse_log_level(text.substr(0, text.find(':')).c_str(), &level)) return {};
  return "\"" + text + "\" is no LEVEL[:FILE]; levels are off, error, warn, info, debug, trace";
}

std::string is_number_of_lanes(const std::string& text) {
  link::DialOptions unused;
  return link::parse_stripes(text, &unused).text();
}

std::string is_way_to_compress(const std::string& text) {
  link::DialOptions unused;
  return link::parse_compress(text, &unused).text();
}

std::string is_spread(const std::string& text) { return link::parse_spread(text).status().text(); }

void add_connection(CLI::App* command, Connection* to) {
  command->add_option(
      "--server", to->server,
      "GPU server, HOST:PORT; tcp://, shm:// or rdma:// before it insists on that\n"
      "carrier; several, with commas between, for the GPUs of all [FARCALL_SERVER]");
  command->add_option("--cert", to->certificate, "your certificate, PEM [FARCALL_CERT]");
  command->add_option("--key", to->key, "its private key, PEM [FARCALL_KEY]");
  command->add_option("--ca", to->ca, "the pool's authority, PEM [FARCALL_CA]");
  command->add_option("--name", to->server_name,
                      "name the server's certificate carries, if not HOST [FARCALL_SERVER_NAME]");
  command->add_option("--deny-list", to->deny_list,
                      "revoked certificates, as farcall ca revoke writes them: a server on it is\n"
                      "refused [FARCALL_DENY_LIST]");
  command->add_option("--lease", to->lease,
                      "file of lease tokens, for servers that let nobody in without one; of "
                      "several\nthe one for the server is shown [FARCALL_LEASE]");
  command
      ->add_option("--lanes", to->lanes,
                   "TCP connections to spread payloads over, 1 to 8; auto: one nearby, more the\n"
                   "farther the server is [FARCALL_LANES]")
      ->check(is_number_of_lanes);
  command
      ->add_option("--compress", to->compress,
                   "payloads, where the server allows it: off (default), auto (where the link is\n"
                   "slower than the compressor) or on; sizes on the wire then tell how well data\n"
                   "packs [FARCALL_COMPRESS]")
      ->check(is_way_to_compress);
  command
      ->add_flag(
          "--spread{on}", to->spread,
          "number the devices of several servers in turns, one of each, so that a program's\n"
          "first n are spread over all of them; --spread=40% also refuses to start where one\n"
          "server has a larger share of the devices [FARCALL_SPREAD]")
      ->check(is_spread);
}

void add_run(CLI::App& app, RunOptions* options) {
  auto* run = app.add_subcommand("run", "Run a program with its GPU on a server");
  add_connection(run, &options->connection);
  run->add_option(
      "--renew-from", options->connection.renew_from,
      "renew your certificate while the program runs: host:port of the pool's authority "
      "(farcall\nca serve); its files must be yours to write [FARCALL_RENEW_FROM]");
  run->add_option("--stats", options->stats_file,
                  "write the session's figures to this file, JSON [FARCALL_STATS]");
  run->add_option(
      "--trace", options->trace_file,
      "record every call in this file, replacing it, for farcall explain [FARCALL_TRACE]");
  run->add_option("--log", options->log,
                  "let the client library log: LEVEL[:FILE], error to trace [FARCALL_LOG]")
      ->check(is_log_setting);
  run->add_flag("--strict", options->strict,
                "make every call wait for its own result, as on a local GPU [FARCALL_STRICT]");
  run->add_option("--off", options->off,
                  "optimisations to do without, for instance spin,gather or all [FARCALL_OFF]")
      ->check(is_off_list);
  run->add_flag("!--no-check", options->check, "do not try the server before the program starts");
  run->add_option("command", options->command, "the program and its arguments, after --")
      ->required();
  run->positionals_at_end();
  run->footer(
      "Example:\n  farcall run --server gpu1:7717 --cert ana.crt --key ana.key --ca ca.crt "
      "-- python train.py\n\nSettings not given as flags come from the variables in "
      "brackets, then from\n~/.config/farcall/config.toml (server, cert, key, ca, name, deny-list, "
      "lease, renew-from, lanes, compress, spread).\n"
      "The exit code is the program's; 2 for wrong arguments, 125 when Farcall could not start\n"
      "it, 126 when it cannot be executed, 127 when it is not found.\n\n"
      "What --off knows, and what each is there for:\n" +
      switches_help());
}

std::string is_list_of_checks(const std::string& text) {
  std::istringstream words(text);
  for (std::string word; std::getline(words, word, ',');) {
    if (word != "memory" && word != "init" && word != "race" && word != "leak") {
      return "\"" + word + "\" is none of memory, init, race, leak";
    }
  }
  return text.empty() ? "nothing to look for" : "";
}

void add_check(CLI::App& app, CheckOptions* options) {
  auto* check = app.add_subcommand("check", "Look for mistakes in a program's kernels");
  check
      ->add_option("--for", options->what,
                   "what to look for, with commas: memory (accesses outside of allocations), init\n"
                   "(reads of what nobody wrote), race (shared memory), leak")
      ->check(is_list_of_checks)
      ->capture_default_str();
  check
      ->add_option("--error-exitcode", options->exit_code,
                   "exit with this when there are problems; 0: with the program's own code")
      ->check(CLI::Range(0, 255))
      ->capture_default_str();
  check->add_option("command", options->command, "the program and its arguments, after --")
      ->required();
  check->positionals_at_end();
  check->footer(
      "Example:\n  farcall check -- ./app\n\n"
      "Runs the program on this machine's CPU, on the software GPU: no GPU and no server are\n"
      "needed, but PTX in the program is. Compile with -lineinfo to see lines of the source.\n"
      "Problems are told on stderr as they are found, the sum at the end.");
}

void add_gpus(CLI::App& app, GpusOptions* options) {
  auto* gpus = app.add_subcommand("gpus", "List the devices of a server");
  add_connection(gpus, &options->connection);
  gpus->add_option_function<std::string>(
          "-o,--output", [options](const std::string& form) { options->json = form == "json"; },
          "table (default) or json")
      ->check(CLI::IsMember({"table", "json"}));
  gpus->footer("Example:\n  farcall gpus --server gpu1:7717 -o json");
}

void add_smi(CLI::App& app, SmiOptions* options) {
  auto* smi = app.add_subcommand("smi", "Show the devices and what your processes hold of them");
  add_connection(smi, &options->connection);
  smi->add_option_function<std::string>(
         "-o,--output", [options](const std::string& form) { options->json = form == "json"; },
         "table (default) or json")
      ->check(CLI::IsMember({"table", "json"}));
  smi->footer(
      "What nvidia-smi shows under farcall run, without nvidia-smi: the processes are yours, on\n"
      "this machine. Example:\n  watch farcall smi --server gpu1:7717");
}

void add_explain(CLI::App& app, ExplainOptions* options) {
  auto* explain = app.add_subcommand("explain", "Say what a traced run spent on its link, and why");
  explain->add_option("trace", options->trace_file, "file of farcall run --trace")->required();
  explain->add_option("--rtt", options->rtt, "round trip to predict for, like 0.5ms or 80us")
      ->capture_default_str();
  explain->add_option("--bandwidth", options->bandwidth, "bandwidth to predict for, like 10Gbit")
      ->capture_default_str();
  explain->add_option("-o,--output", options->form, "text, json, or pictures as svg or html")
      ->check(CLI::IsMember({"text", "json", "svg", "html"}))
      ->capture_default_str();
  explain->add_option("--out", options->out, "write to this file instead of standard output");
  explain->footer(
      "Example:\n  farcall run --trace run.trace -- python train.py\n"
      "  farcall explain run.trace --rtt 2ms --bandwidth 1Gbit\n"
      "  farcall explain run.trace -o html --out run.html");
}

void add_netperf(CLI::App& app, NetperfOptions* options) {
  auto* netperf = app.add_subcommand("netperf", "Measure the link to a server, without its GPU");
  add_connection(netperf, &options->connection);
  netperf
      ->add_option_function<std::string>(
          "-o,--output", [options](const std::string& form) { options->json = form == "json"; },
          "table (default) or json")
      ->check(CLI::IsMember({"table", "json"}));
  netperf->footer(
      "Takes about two seconds. Sends up to 64 MiB a few times each way, encrypted as always.\n"
      "Example:\n  farcall netperf --server gpu1:7717");
}

void add_demo(CLI::App& app, DemoOptions* options) {
  auto* demo = app.add_subcommand("demo", "Run a program in a throw-away pool on this machine");
  demo->add_option("--driver", options->driver,
                   "serve this libcuda.so.1 instead of the software GPU")
      ->check(CLI::ExistingFile);
  demo->add_option("--gpus", options->gpus, "number of software GPUs, up to 16")
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  demo->add_flag("--keep", options->keep, "leave certificates, server log and figures behind");
  demo->add_flag("!--no-summary", options->summary, "do not print the session's figures");
  demo->add_option("command", options->command,
                   "the program and its arguments, after --; default: train a small network");
  demo->positionals_at_end();
  demo->footer(
      "Examples:\n  farcall demo\n  farcall demo -- ./my_cuda_program --size 1024\n\n"
      "The pool has an authority of its own and a server on a free loopback port; all of "
      "it\nis gone when the program ends. The exit code is the program's.");
}

int run(int argc, char** argv) {
  CLI::App app("Farcall: unmodified CUDA programs on a remote GPU", "farcall");
  app.require_subcommand(1);
  app.footer("'farcall COMMAND --help' tells more about a command.");
  RunOptions run_options;
  CheckOptions check_options;
  GpusOptions gpus_options;
  SmiOptions smi_options;
  NetperfOptions netperf_options;
  DemoOptions demo_options;
  ExplainOptions explain_options;
  add_run(app, &run_options);
  add_check(app, &check_options);
  add_gpus(app, &gpus_options);
  add_smi(app, &smi_options);
  add_netperf(app, &netperf_options);
  Act act;
  add_attest(app, &act);
  add_audit(app, &act);
  add_ca(app, &act);
  add_lease(app, &act);
  add_manifest(app, &act);
  add_quarantine(app, &act);
  add_demo(app, &demo_options);
  add_explain(app, &explain_options);
  auto* version = app.add_subcommand("version", "Print version and table fingerprint");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& wrong) {
    return app.exit(wrong) == 0 ? 0 : kExitUsage;
  }
  if (app.got_subcommand("run")) return run_program(run_options);
  if (app.got_subcommand("check")) return check_program(check_options);
  if (app.got_subcommand("gpus")) return list_gpus(gpus_options);
  if (app.got_subcommand("smi")) return show_use(smi_options);
  if (app.got_subcommand("explain")) return explain_trace(explain_options);
  if (app.got_subcommand("netperf")) return measure_network(netperf_options);
  if (app.got_subcommand("demo")) return run_demo(demo_options);
  if (app.got_subcommand(version)) {
    std::printf("farcall %s, API table %016llx\n", FARCALL_VERSION,
                static_cast<unsigned long long>(api::table_fingerprint()));
    return 0;
  }
  return act();
}

}  // namespace
}  // namespace farcall::cli

int main(int argc, char** argv) {
  farcall::set_log_name("farcall");
  farcall::use_secret_memory();
  farcall::log_from_environment(farcall::LogLevel::kWarn);
  if (farcall::Status done = farcall::turn_off_from_environment(); !done.ok()) {
    return farcall::cli::fail("FARCALL_OFF: " + done.text());
  }
  return farcall::cli::run(argc, argv);
}
