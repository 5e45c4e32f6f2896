// farcall audit: a server's audit log, read and checked, also where there is no server.
#include <poll.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>
#include <deque>
#include <fstream>
#include <memory>

#include "security/audit_file.h"
#include "security/audit_key.h"
#include "security/audit_reader.h"
#include "security/audit_verify.h"
#include "tools/cli/audit_cost.h"
#include "tools/cli/audit_query.h"
#include "tools/cli/commands.h"
#include "tools/cli/families.h"

namespace farcall::cli {
namespace {

constexpr int kExitTampered = 1;  // verify
constexpr int kExitNothing = 1;   // search, tail and export: no such record
constexpr int kExitInDoubt = 3;   // verify: whole, but how it ends is not certain
constexpr int kFollowMs = 250;

struct AuditCommands {
  std::string folder = security::default_audit_folder();
  AuditQuery query;
  std::string form = "text";
  std::string by = "lease";
  std::size_t lines = 20;
  bool follow = false;
  std::vector<std::string> keys;
  std::vector<std::string> anchors;
  bool archived = false;
  std::string stem = "audit";
};

int no_log(const AuditCommands& o, const Status& why) {
  return fail(why.text() +
              "; a server keeps its log where farcall-server --audit says, here: " + o.folder);
}

// Times in words become the beginnings of times as records have them.
Status settle_times(AuditQuery* query) {
  for (std::string* each : {&query->since, &query->until}) {
    if (each->empty()) continue;
    Result<std::string> moment = parse_moment(*each, std::time(nullptr));
    if (!moment.ok()) return moment.status();
    *each = std::move(moment).value();
  }
  return ok();
}

void warn_of_damage(const AuditRead& read) {
  if (read.damaged == 0) return;
  std::fprintf(stderr,
               "farcall: %llu line(s) are no records, the first is %s: see farcall audit "
               "verify\n",
               static_cast<unsigned long long>(read.damaged), read.damaged_at.c_str());
}

void print_as(const std::string& form, const Found& found, bool is_first) {
  if (form == "json") {
    std::printf("%s%.*s", is_first ? "[\n" : ",\n", static_cast<int>(found.text.size()),
                found.text.data());
  } else if (form == "csv") {
    std::printf("%s%s", is_first ? csv_header().c_str() : "", as_csv(found.line).c_str());
  } else {
    std::printf("%s\n", as_text(found.line).c_str());
  }
}

int audit_search(AuditCommands& o) {
  if (Status times = settle_times(&o.query); !times.ok()) {
    fail(times);
    return kExitUsage;
  }
  bool is_first = true;
  auto read = read_audit(o.folder, o.query, [&](const Found& found) {
    print_as(o.form, found, is_first);
    is_first = false;
  });
  if (!read.ok()) return no_log(o, read.status());
  if (o.form == "json") std::printf("%s", is_first ? "[]\n" : "\n]\n");
  if (o.form == "csv" && is_first) std::printf("%s", csv_header().c_str());
  warn_of_damage(read.value());
  return read->found == 0 ? kExitNothing : 0;
}

int audit_cost(AuditCommands& o) {
  if (Status times = settle_times(&o.query); !times.ok()) {
    fail(times);
    return kExitUsage;
  }
  CostTable table(CostTable::parse(o.by).value_or(CostTable::By::kLease));
  auto read = read_audit(o.folder, o.query, [&](const Found& found) { table.add(found.line); });
  if (!read.ok()) return no_log(o, read.status());
  const std::vector<CostRow> rows = table.rows();
  std::printf("%s", o.form == "json" ? to_json(rows).c_str() : to_text(rows).c_str());
  warn_of_damage(read.value());
  return rows.empty() ? kExitNothing : 0;
}

// Records after `last`, as they come, until the command is ended.
int follow(const AuditCommands& o, std::uint64_t last) {
  std::uint64_t number = 0;
  std::uint64_t offset = 0;
  for (;;) {
    auto files = security::audit_files(o.folder);
    if (!files.ok()) return no_log(o, files.status());
    for (std::uint64_t each : files.value()) {
      if (each < number || each + 1 < files->back()) continue;
      if (each != number) offset = 0;
      number = each;
      auto lines =
          security::AuditLines::open_at(o.folder + "/" + security::audit_file_name(each), offset);
      if (!lines.ok()) return fail(lines.status());
      while (lines->next() && lines->is_whole()) {
        offset = lines->end_offset();
        auto line = security::parse_line(lines->text());
        if (!line.ok() || line->sequence <= last || !matches(o.query, line.value())) continue;
        last = line->sequence;
        std::printf("%s\n", as_text(line.value()).c_str());
      }
    }
    std::fflush(stdout);
    if (::poll(nullptr, 0, kFollowMs) < 0) return 0;
  }
}

int audit_tail(const AuditCommands& o) {
  std::deque<std::string> last;
  std::uint64_t sequence = 0;
  auto read = read_audit(o.folder, o.query, [&](const Found& found) {
    last.push_back(as_text(found.line));
    sequence = found.line.sequence;
    if (last.size() > o.lines) last.pop_front();
  });
  if (!read.ok()) return no_log(o, read.status());
  for (const std::string& each : last) std::printf("%s\n", each.c_str());
  warn_of_damage(read.value());
  if (o.follow) return follow(o, sequence);
  return read->found == 0 ? kExitNothing : 0;
}

Result<std::vector<security::AuditVerifier>> load_keys(const AuditCommands& o) {
  std::vector<std::string> paths = o.keys;
  if (paths.empty()) {
    paths.push_back(o.folder + "/audit.pub");
    std::fprintf(stderr,
                 "farcall: with the key that lies beside the log; one kept elsewhere "
                 "(--key) shows more\n");
  }
  std::vector<security::AuditVerifier> keys;
  for (const std::string& path : paths) {
    auto key = security::AuditVerifier::load(path);
    if (!key.ok()) return Status(key.status().code(), key.status().text() + " (--key names it)");
    keys.push_back(std::move(key).value());
  }
  return keys;
}

Result<std::vector<std::string>> load_anchors(const AuditCommands& o) {
  std::vector<std::string> lines;
  for (const std::string& path : o.anchors) {
    auto file = security::AuditLines::open(path);
    if (!file.ok()) return file.status();
    while (file->next()) {
      if (!file->text().empty()) lines.emplace_back(file->text());
    }
    if (!file->status().ok()) return file->status();
  }
  return lines;
}

void print_position(const security::AuditPosition& at) {
  std::printf("  at     %s, line %llu, byte %llu: where record %llu stood\n", at.file.c_str(),
              static_cast<unsigned long long>(at.line), static_cast<unsigned long long>(at.offset),
              static_cast<unsigned long long>(at.record));
}

int print_whole(const security::AuditReport& report) {
  using security::AuditTail;
  std::printf("whole: records %llu to %llu, %llu checkpoint(s), signed up to record %llu\n",
              static_cast<unsigned long long>(report.first),
              static_cast<unsigned long long>(report.last),
              static_cast<unsigned long long>(report.checkpoints),
              static_cast<unsigned long long>(report.signed_until));
  const std::uint64_t behind = report.last - report.signed_until;
  switch (report.tail) {
    case AuditTail::kClosed: std::printf("  end    closed by its server\n"); break;
    case AuditTail::kRunning:
      std::printf("  end    a server writes to it; %llu record(s) are not signed yet\n",
                  static_cast<unsigned long long>(behind));
      break;
    case AuditTail::kCrash:
      std::printf(
          "  end    crash tail: %llu byte(s) of a record that was being written when the "
          "server or the machine ended; nobody was told that it is recorded\n",
          static_cast<unsigned long long>(report.remains));
      break;
    case AuditTail::kUnsigned:
      std::printf(
          "  end    not closed: its server was killed, or the end was cut off behind the "
          "last checkpoint; %llu record(s) are not signed\n",
          static_cast<unsigned long long>(behind));
      break;
  }
  if (!report.doubt.empty()) {
    std::printf("  doubt  %s: the end may have been cut off; an --anchor would show it\n",
                report.doubt.c_str());
  }
  const bool sure = report.tail == AuditTail::kClosed || report.tail == AuditTail::kRunning;
  return sure && report.doubt.empty() ? 0 : kExitInDoubt;
}

int audit_verify(const AuditCommands& o) {
  auto keys = load_keys(o);
  if (!keys.ok()) return fail(keys.status());
  auto anchors = load_anchors(o);
  if (!anchors.ok()) return fail(anchors.status());
  auto report = security::verify_audit(
      o.folder,
      {.keys = &keys.value(), .anchors = std::move(anchors).value(), .archived = o.archived});
  if (!report.ok()) return no_log(o, report.status());
  if (report->fault == security::AuditFault::kNone) return print_whole(report.value());
  std::printf("NOT as it was written: %s\n",
              std::string(security::fault_name(report->fault)).c_str());
  print_position(report->at);
  std::printf("  what   %s\n", report->text.c_str());
  std::printf("  before %llu record(s) are as they were written, signed up to record %llu\n",
              static_cast<unsigned long long>(report->records),
              static_cast<unsigned long long>(report->signed_until));
  return kExitTampered;
}

int audit_keygen(const AuditCommands& o) {
  if (Status made = security::make_audit_key(o.stem); !made.ok()) return fail(made);
  std::printf("%s.key: signs the log; for farcall-server --audit-key, and nobody else\n",
              o.stem.c_str());
  std::printf("%s.pub: checks it; keep it where the server cannot change it\n", o.stem.c_str());
  return 0;
}

int audit_anchor(const AuditCommands& o) {
  auto lines = security::AuditLines::open(o.folder + "/checkpoint");
  if (!lines.ok()) return no_log(o, lines.status());
  if (!lines->next() || !security::parse_line(lines->text()).ok()) {
    return fail(o.folder + "/checkpoint is no checkpoint: see farcall audit verify");
  }
  std::printf("%s\n", std::string(lines->text()).c_str());
  return 0;
}

void add_folder(CLI::App* command, AuditCommands* o) {
  command->add_option("folder", o->folder, "the log's folder, as in farcall-server --audit")
      ->capture_default_str();
}

void add_query(CLI::App* command, AuditCommands* o) {
  AuditQuery& q = o->query;
  command->add_option("--kind", q.kind, "session.start, …, or session for all of its kinds");
  command->add_option("--outcome", q.outcome, "ok, refused or failed")
      ->check(CLI::IsMember({"ok", "refused", "failed"}));
  command->add_option("--principal", q.principal, "a part of the identity, such as /user/ana");
  command->add_option("--tenant", q.tenant, "of this tenant");
  command->add_option("--lease", q.lease, "of this lease");
  command->add_option("--server", q.server, "by this server");
  command->add_option("--text", q.text, "a part of the identity or of any detail");
  command->add_option("--since", q.since,
                      "from then on: 2026-11-22, 2026-11-22T10:30 (UTC), or 90s, 30m, 2h, 7d ago");
  command->add_option("--until", q.until, "up to then, and in it: 2026-11-22 is all of that day");
}

void add_verify(CLI::App* audit, const std::shared_ptr<AuditCommands>& o, Act* act) {
  auto* verify = audit->add_subcommand("verify", "Is the log as it was written? Needs no server");
  add_folder(verify, o.get());
  verify->add_option("--key", o->keys,
                     "the public key, audit.pub; several when it was changed; default: the one in "
                     "the folder");
  verify->add_option("--anchor", o->anchors,
                     "a file of checkpoints kept elsewhere (farcall audit anchor), a line each");
  verify->add_flag("--archived", o->archived, "the log's first files were moved away on purpose");
  verify->footer(
      "Names the first record that was changed, dropped, reordered, inserted or cut off, by file,\n"
      "line and byte. Without an anchor, who has the server's private key could have written all\n"
      "of it anew. Examples:\n"
      "  farcall audit verify --key ~/audit.pub\n"
      "  farcall audit verify /backup/gpu1/audit --key gpu1.pub --anchor gpu1.anchors\n"
      "Exit status: 0 whole; 1 not as it was written; 2 wrong usage; 3 whole, but not closed and\n"
      "no server writes to it (killed, or its end was cut off); 125 it could not be checked.");
  verify->callback([o, act] { *act = [o] { return audit_verify(*o); }; });
}

void add_readers(CLI::App* audit, const std::shared_ptr<AuditCommands>& o, Act* act) {
  auto* tail = audit->add_subcommand("tail", "Show the last records");
  add_folder(tail, o.get());
  tail->add_option("-n,--lines", o->lines, "how many")->check(CLI::Range(1, 1'000'000));
  tail->add_flag("-f,--follow", o->follow, "go on with those to come");
  add_query(tail, o.get());
  tail->footer("Example:\n  farcall audit tail -f --kind session");
  tail->callback([o, act] { *act = [o] { return audit_tail(*o); }; });
  auto* search = audit->add_subcommand("search", "Show the records that match");
  add_folder(search, o.get());
  add_query(search, o.get());
  search->footer(
      "Example:\n  farcall audit search --outcome refused --since 7d\n"
      "  farcall audit search --tenant vision --since 2026-11-01 --until 2026-11-07\n"
      "Exit status: 0 found; 1 nothing found; 2 wrong usage; 125 there is no log.");
  search->callback([o, act] { *act = [o] { return audit_search(*o); }; });
  auto* out = audit->add_subcommand("export", "Write records as json or csv");
  add_folder(out, o.get());
  add_query(out, o.get());
  out->add_option("-o,--output", o->form, "json (an array, each record as it stands) or csv")
      ->check(CLI::IsMember({"json", "csv"}))
      ->required();
  out->footer(
      "Example:\n  farcall audit export -o csv --since 2026-11-01 > november.csv\n"
      "  farcall audit export -o json | jq '.[] | select(.kind == \"session.end\")'\n"
      "Exit status: 0 done; 1 nothing matched; 2 wrong usage; 125 there is no log.");
  out->callback([o, act] { *act = [o] { return audit_search(*o); }; });
}

void add_cost(CLI::App* audit, const std::shared_ptr<AuditCommands>& o, Act* act) {
  auto* cost = audit->add_subcommand("cost", "What encryption cost, by lease");
  add_folder(cost, o.get());
  add_query(cost, o.get());
  cost->add_option("--by", o->by, "lease (who has none: by user), user, tenant or server")
      ->check(CLI::IsMember({"lease", "user", "tenant", "server"}))
      ->capture_default_str();
  cost->add_option("-o,--output", o->form, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  cost->footer(
      "Sums up the records session.cost: processor time of the sessions' workers for sealing and\n"
      "opening records, measured by samples, and what part of the time they ran it is. Several\n"
      "threads seal at a time: it can be more than 100 %. The client's half is in FARCALL_STATS.\n"
      "Examples:\n"
      "  farcall audit cost --since 7d\n"
      "  farcall audit cost --by tenant -o json\n"
      "Exit status: 0 done; 1 no session has ended; 2 wrong usage; 125 there is no log.");
  cost->callback([o, act] { *act = [o] { return audit_cost(*o); }; });
}

}  // namespace

void add_audit(CLI::App& app, Act* act) {
  // Lives as long as the parser, whose callbacks fill it.
  auto o = std::make_shared<AuditCommands>();
  auto* audit = app.add_subcommand("audit", "A server's audit log: read it, check it");
  audit->footer(
      "Examples:\n  farcall audit tail\n  farcall audit verify --key audit.pub\n"
      "  farcall audit anchor >> /mnt/elsewhere/anchors");
  audit->require_subcommand(1);
  add_readers(audit, o, act);
  add_verify(audit, o, act);
  add_cost(audit, o, act);
  auto* anchor = audit->add_subcommand("anchor", "Print the latest checkpoint, to keep elsewhere");
  add_folder(anchor, o.get());
  anchor->footer(
      "A log that has been kept from this machine's own root, too: who has its key can write\n"
      "another history, but none that fits what was kept elsewhere. Example, every hour:\n"
      "  farcall audit anchor | ssh safe 'cat >> gpu1.anchors'");
  anchor->callback([o, act] { *act = [o] { return audit_anchor(*o); }; });
  auto* keygen = audit->add_subcommand("keygen", "Make a key that signs a log");
  keygen->add_option("--out", o->stem, "write OUT.key and OUT.pub")->capture_default_str();
  keygen->footer("Example:\n  farcall audit keygen --out /etc/farcall/audit");
  keygen->callback([o, act] { *act = [o] { return audit_keygen(*o); }; });
}

}  // namespace farcall::cli
