// farcall ca list, farcall ca report: what the authority has issued, and what became of it.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "security/ca_folder.h"
#include "tools/cli/ca_commands.h"
#include "tools/cli/commands.h"

namespace farcall::cli {
namespace {

using nlohmann::json;
using security::Issued;
using security::Standing;

struct ListOptions {
  std::string folder = "ca";
  std::string tenant;
  bool revoked = false;
  bool due = false;
  std::string form = "text";
};

bool is_wanted(const Issued& one, Standing standing, const ListOptions& options) {
  if (!options.tenant.empty() && one.who.tenant != options.tenant) return false;
  if (!options.revoked && !options.due) return true;
  return (options.revoked && standing == Standing::kRevoked) ||
         (options.due && standing == Standing::kDue);
}

json date_or_null(std::int64_t seconds) {
  return seconds == 0 ? json() : json(security::date_text(seconds));
}

json to_json(const Issued& one, Standing standing) {
  return {{"serial", one.who.serial},
          {"identity", security::identity_uri(one.who)},
          {"standing", security::word(standing)},
          {"issued", date_or_null(one.at)},
          {"due", date_or_null(security::due_at(one))},
          {"valid_until", security::date_text(one.who.not_after)},
          {"renewal", one.renewal},
          {"renewed_by", one.renewed_by.empty() ? json() : json(one.renewed_by)},
          {"revoked", date_or_null(one.revoked_at)},
          {"reason", one.reason.empty() ? json() : json(one.reason)}};
}

int ca_list(const ListOptions& options) {
  auto ca = security::CaFolder::open(options.folder);
  if (!ca.ok()) return fail(ca.status());
  auto issued = ca->issued();
  if (!issued.ok()) return fail(issued.status());
  const std::int64_t now = std::time(nullptr);
  json all = json::array();
  if (options.form == "text") {
    std::printf("%-32s  %-8s  %-20s  %s\n", "SERIAL", "STANDING", "VALID UNTIL", "IDENTITY");
  }
  for (const Issued& one : issued.value()) {
    const Standing standing = security::standing_of(one, now);
    if (!is_wanted(one, standing, options)) continue;
    if (options.form == "json") {
      all.push_back(to_json(one, standing));
      continue;
    }
    std::printf("%-32s  %-8s  %-20s  %s%s%s%s\n", one.who.serial.c_str(), security::word(standing),
                security::date_text(one.who.not_after).c_str(),
                security::identity_uri(one.who).c_str(), one.reason.empty() ? "" : "  (",
                one.reason.c_str(), one.reason.empty() ? "" : ")");
  }
  if (options.form == "json") std::printf("%s\n", json{{"certificates", all}}.dump(2).c_str());
  return 0;
}

// Of one tenant, of the servers, or of all.
struct Tally {
  int issued = 0;
  int renewed = 0;
  int revoked = 0;
  int due = 0;
  int good = 0;
  int expired = 0;

  void count(const Issued& one, Standing standing) {
    ++(one.renewal ? renewed : issued);
    revoked += one.revoked_at != 0;
    due += standing == Standing::kDue;
    expired += standing == Standing::kExpired;
    good +=
        standing == Standing::kGood || standing == Standing::kDue || standing == Standing::kRenewed;
  }
  json to_json() const {
    return {{"issued", issued}, {"renewed", renewed}, {"revoked", revoked},
            {"due", due},       {"good", good},       {"expired", expired}};
  }
  void print(const std::string& name) const {
    std::printf("%-24s  %7d  %7d  %7d  %7d  %7d  %7d\n", name.c_str(), issued, renewed, revoked,
                good, due, expired);
  }
};

std::string whose(const security::PeerIdentity& who) {
  if (who.kind == security::IdentityKind::kServer) return "(servers)";
  return who.kind == security::IdentityKind::kClient ? who.tenant : "(authorities)";
}

int ca_report(const ListOptions& options) {
  auto ca = security::CaFolder::open(options.folder);
  if (!ca.ok()) return fail(ca.status());
  auto issued = ca->issued();
  if (!issued.ok()) return fail(issued.status());
  auto differences = ca->differences();
  if (!differences.ok()) return fail(differences.status());
  const std::int64_t now = std::time(nullptr);
  std::map<std::string, Tally> tallies;
  Tally all;
  for (const Issued& one : issued.value()) {
    const Standing standing = security::standing_of(one, now);
    tallies[whose(one.who)].count(one, standing);
    all.count(one, standing);
  }
  if (options.form == "json") {
    json tenants = json::object();
    for (const auto& [name, tally] : tallies) tenants[name] = tally.to_json();
    std::printf("%s\n", json{{"at", security::date_text(now)},
                             {"by_tenant", tenants},
                             {"all", all.to_json()},
                             {"differences", differences.value()}}
                            .dump(2)
                            .c_str());
  } else {
    std::printf("Certificates of %s on %s\n\n%-24s  %7s  %7s  %7s  %7s  %7s  %7s\n",
                ca->root_path().c_str(), security::date_text(now).c_str(), "TENANT", "ISSUED",
                "RENEWED", "REVOKED", "GOOD", "DUE", "EXPIRED");
    for (const auto& [name, tally] : tallies) tally.print(name);
    all.print("all");
    std::printf("\nIndex and deny list agree: %s\n", differences->empty() ? "yes" : "NO");
    for (const std::string& one : differences.value()) std::printf("  %s\n", one.c_str());
  }
  if (differences->empty()) return 0;
  return fail("index and deny list do not agree; 'farcall ca deny-list' makes a list that does");
}

}  // namespace

void add_ca_list(CLI::App& ca, Act* act) {
  auto options = std::make_shared<ListOptions>();
  auto* list = ca.add_subcommand("list", "List what was issued");
  list->add_flag("--revoked", options->revoked, "only what was revoked");
  list->add_flag("--due", options->due, "only what is past half its life and not renewed");
  list->add_option("--tenant", options->tenant, "only this tenant's");
  auto* report = ca.add_subcommand("report", "Count what was issued, renewed, revoked, is due");
  for (auto* command : {list, report}) {
    command->add_option("--dir", options->folder, "the authority's folder")->capture_default_str();
    command->add_option("-o,--output", options->form, "text or json")
        ->check(CLI::IsMember({"text", "json"}))
        ->capture_default_str();
  }
  list->footer(
      "STANDING: good; due, past half its life; renewed, good beside its successor; expired; "
      "revoked.\n"
      "Examples:\n  farcall ca list --due\n"
      "  farcall ca list --revoked -o json | jq -r '.certificates[].serial'");
  report->footer(
      "By tenant, for compliance. GOOD counts what would be let in now; DUE is part of it. It "
      "also\n"
      "compares the index with the deny list; where they differ, the exit status is 125.\n"
      "Example:\n  farcall ca report -o json > certificates-$(date +%F).json");
  list->callback([options, act] { *act = [options] { return ca_list(*options); }; });
  report->callback([options, act] { *act = [options] { return ca_report(*options); }; });
}

}  // namespace farcall::cli
