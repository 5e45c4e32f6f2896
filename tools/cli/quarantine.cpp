// farcall quarantine: sessions that this host's server froze for what they did.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "gpu_server/control_socket.h"
#include "security/identity.h"
#include "tools/cli/commands.h"
#include "tools/cli/families.h"

namespace farcall::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct QuarantineOptions {
  std::string control;
  int port = 0;
  std::string id;
  std::string form = "text";
};

std::string text(const json& one, const char* key) {
  const auto found = one.find(key);
  if (found == one.end()) return "";
  if (found->is_string()) return found->get<std::string>();
  return found->dump();
}

std::string date(const json& one) {
  const auto found = one.find("since");
  const bool known = found != one.end() && found->is_number_integer();
  return known ? security::date_text(found->get<std::int64_t>()) : "";
}

// The one server of this user's on this host, unless the options name another.
Result<std::string> find_control(const QuarantineOptions& o) {
  if (!o.control.empty()) return o.control;
  if (o.port != 0) return server::control_path(static_cast<std::uint16_t>(o.port));
  std::vector<std::string> found;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(server::control_folder(), none)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("server-") || !name.ends_with(".sock")) continue;
    // What a server that was killed left answers nobody.
    if (server::ask_server(entry.path(), "list").ok()) found.push_back(entry.path());
  }
  if (found.size() == 1) return found[0];
  if (found.empty()) {
    return Status(Code::kNotFound,
                  "no server of yours on this host listens in '" + server::control_folder() +
                      "': run this as the server's user, on its host; --control PATH names what "
                      "farcall-server --control names");
  }
  std::string all;
  for (const std::string& each : found) all += "\n  " + each;
  return Status(Code::kUnsupported, "several servers run here, say --port or --control:" + all);
}

Result<json> ask(const QuarantineOptions& o, const std::string& request) {
  Result<std::string> control = find_control(o);
  if (!control.ok()) return control.status();
  Result<std::string> said = server::ask_server(control.value(), request);
  if (!said.ok()) return said.status();
  json answer = json::parse(said.value(), nullptr, false);
  if (!answer.is_object() || !answer.contains("ok")) {
    return Status(Code::kMalformed, control.value() + " is no server's control socket");
  }
  if (answer["ok"] != true) return Status(Code::kDenied, text(answer, "error"));
  return answer;
}

int list(const QuarantineOptions& o) {
  Result<json> answer = ask(o, "list");
  if (!answer.ok()) return fail(answer.status().text());
  const json cases = answer->value("cases", json::array());
  if (o.form == "json") {
    std::printf("%s\n", cases.dump(2).c_str());
    return 0;
  }
  if (cases.empty())
    std::printf("No session of %s is in quarantine.\n", text(answer.value(), "server").c_str());
  for (const json& one : cases) {
    std::printf("%-10s %-9s %s  tenant %s, user %s: %s\n", text(one, "case").c_str(),
                text(one, "state").c_str(), date(one).c_str(), text(one, "tenant").c_str(),
                text(one, "user").c_str(), text(one, "why").c_str());
  }
  return 0;
}

void print(const json& one) {
  std::printf("case %s: %s\n  %s\n", text(one, "case").c_str(), text(one, "state").c_str(),
              text(one, "why").c_str());
  const std::pair<const char*, const char*> rows[] = {
      {"tenant", "tenant"}, {"user", "user"},       {"zone", "zone"},
      {"role", "role"},     {"lease", "lease"},     {"certificate", "certificate"},
      {"from", "from"},     {"session", "session"}, {"worker", "worker (process)"}};
  for (const auto& [key, name] : rows) {
    if (!text(one, key).empty()) std::printf("  %-18s %s\n", name, text(one, key).c_str());
  }
  std::printf("  %-18s %s\n  what it had done when it was frozen, as its worker counted:\n",
              "since", date(one).c_str());
  const json evidence = one.value("evidence", json::object());
  for (const auto& [name, value] : evidence.items()) {
    std::printf("    %-16s %s\n", name.c_str(), value.dump().c_str());
  }
  const json calls = one.value("calls", json::array());
  if (!calls.empty()) std::printf("  its last calls:\n");
  for (const json& call : calls) {
    if (call.is_string()) std::printf("    %s\n", call.get<std::string>().c_str());
  }
  std::printf("What to do: security/runbooks/%s.md\n", text(one, "feature").c_str());
}

int show(const QuarantineOptions& o) {
  Result<json> answer = ask(o, "list");
  if (!answer.ok()) return fail(answer.status().text());
  const json cases = answer->value("cases", json::array());
  for (const json& one : cases) {
    if (text(one, "case") != o.id) continue;
    if (o.form == "json") {
      std::printf("%s\n", one.dump(2).c_str());
    } else {
      print(one);
    }
    return 0;
  }
  return fail("there is no case " + o.id + "; farcall quarantine list shows all");
}

int order(const QuarantineOptions& o, const char* verb) {
  Result<json> answer = ask(o, std::string(verb) + " " + o.id);
  if (!answer.ok()) return fail(answer.status().text());
  std::printf("case %s: told to %s\n", o.id.c_str(), verb);
  return 0;
}

void declare_place(CLI::App* command, QuarantineOptions* o) {
  command->add_option("--control", o->control, "the server's control socket");
  command->add_option("--port", o->port, "the server that listens on this port")
      ->check(CLI::Range(1, 65535));
}

}  // namespace

void add_quarantine(CLI::App& app, Act* act) {
  // Lives as long as the parser, whose callbacks fill it.
  auto o = std::make_shared<QuarantineOptions>();
  auto* family = app.add_subcommand("quarantine", "Sessions that a server froze for what they did");
  family->require_subcommand(1);
  family->footer(
      "Run as the server's own user on its host. A frozen session computes and sends nothing, and\n"
      "its client starts no other one here until its case is released. What to look at before:\n"
      "security/runbooks. Thresholds: farcall-server --containment.\n\n"
      "Examples:\n"
      "  farcall quarantine list\n"
      "  farcall quarantine show 1a2b3c4d\n"
      "  farcall quarantine release 1a2b3c4d     # it goes on, its client is let in again\n"
      "  farcall quarantine end 1a2b3c4d         # over and wiped; its client stays out\n"
      "Exit status: 0 done, 125 it could not be done.");
  auto* list_it = family->add_subcommand("list", "All cases since the server started");
  auto* show_it = family->add_subcommand("show", "One case, and what its session had done");
  auto* release_it =
      family->add_subcommand("release", "Let it go on; of an ended case: let its client in again");
  auto* end_it = family->add_subcommand("end", "End the session; its client stays out");
  for (auto* each : {list_it, show_it}) {
    each->add_option("-o,--output", o->form, "text or json")
        ->check(CLI::IsMember({"text", "json"}))
        ->capture_default_str();
  }
  for (auto* each : {show_it, release_it, end_it}) {
    each->add_option("case", o->id, "as farcall quarantine list shows it")->required();
  }
  for (auto* each : {list_it, show_it, release_it, end_it}) declare_place(each, o.get());
  list_it->callback([o, act] { *act = [o] { return list(*o); }; });
  show_it->callback([o, act] { *act = [o] { return show(*o); }; });
  release_it->callback([o, act] { *act = [o] { return order(*o, "release"); }; });
  end_it->callback([o, act] { *act = [o] { return order(*o, "end"); }; });
}

}  // namespace farcall::cli
