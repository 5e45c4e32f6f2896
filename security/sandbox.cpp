#include "security/sandbox.h"

#include <sys/prctl.h>

#include "security/sandbox_layers.h"

namespace farcall::security {
namespace {

constexpr std::size_t kReportLayersMax = 32;

Status no_new_privileges() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Status::system("prctl");
  return ok();
}

// One line, and no tab: a line's fields are parted by those.
std::string flat(std::string text) {
  for (char& letter : text) {
    if (letter == '\t' || letter == '\n') letter = ' ';
  }
  return text;
}

}  // namespace

std::string_view name_of(SandboxMode mode) {
  constexpr std::string_view kNames[] = {"off", "best", "strict"};
  return kNames[static_cast<std::size_t>(mode)];
}

Result<SandboxMode> parse_sandbox_mode(std::string_view word) {
  for (SandboxMode mode : {SandboxMode::kOff, SandboxMode::kBest, SandboxMode::kStrict}) {
    if (word == name_of(mode)) return mode;
  }
  return Status(Code::kUnsupported, "\"" + std::string(word) + "\" is none of strict, best, off");
}

std::string_view name_of(SandboxProfile profile) {
  constexpr std::string_view kNames[] = {"plain", "NVIDIA", "RDMA"};
  return kNames[static_cast<std::size_t>(profile)];
}

SandboxReport confine(const SandboxPlan& plan) {
  SandboxReport report;
  auto layer = [&report](const char* name, Status held, const char* meaning) {
    report.push_back({name, std::move(held), meaning});
  };
  if (plan.mode != SandboxMode::kOff) {
    const KeptTrees kept = gather_trees(plan);
    layer("namespaces", plan.namespaces,
          "a worker shares the host's process ids, network, IPC and mounts; only the system call "
          "filter and Landlock keep it from them");
    layer("own user", take_uid(plan),
          "all workers run as one user of the host, the server's own; files of that user are kept "
          "from them by the empty root and Landlock only");
    layer("empty root", take_root(plan, kept),
          "the host's files have names in a worker; file modes and Landlock keep it from them");
    layer("capabilities", take_capabilities(plan), "a worker keeps rights of root");
  }
  layer("no new privileges", no_new_privileges(), "a worker could gain rights by set-uid programs");
  if (plan.mode != SandboxMode::kOff) {
    layer("Landlock", take_paths(plan), "a name that leads to a file can be opened by file mode");
    layer("limits", take_limits(plan), "a worker can use up the host's threads or descriptors");
    layer("locked memory", check_locked_memory(),
          "a tenant's bytes beyond that may reach swap: raise the server's memlock limit "
          "(LimitMEMLOCK=infinity, ulimit -l) or use encrypted swap, or none");
    report.back().wall = false;
  }
  layer("no traces", take_traces(), "a worker's memory can be dumped to disk, or debugged");
  if (plan.mode != SandboxMode::kOff) {
    layer("system calls", take_calls(plan.profile),
          "a worker that is taken over has all of the kernel to attack");
  }
  return report;
}

bool complete(const SandboxReport& report) {
  for (const SandboxLayer& layer : report) {
    if (layer.wall && !layer.held.ok()) return false;
  }
  return true;
}

std::string to_lines(const SandboxReport& report) {
  std::string lines;
  for (const SandboxLayer& layer : report) {
    lines += layer.name + '\t' + (layer.held.ok() ? "held" : flat(layer.held.text())) + '\t' +
             (layer.wall ? "wall\t" : "advice\t") + layer.meaning + '\n';
  }
  return lines;
}

Result<SandboxReport> report_from_lines(std::string_view lines) {
  SandboxReport report;
  while (!lines.empty()) {
    const std::size_t end = lines.find('\n');
    std::string_view line = lines.substr(0, end);
    std::string_view fields[3];
    bool whole = end != lines.npos && report.size() < kReportLayersMax;
    for (std::string_view& field : fields) {
      const std::size_t tab = line.find('\t');
      whole = whole && tab != line.npos;
      if (!whole) return Status(Code::kMalformed, "that is no report of a sandbox");
      field = line.substr(0, tab);
      line.remove_prefix(tab + 1);
    }
    report.push_back(
        {std::string(fields[0]),
         fields[1] == "held" ? ok() : Status(Code::kUnsupported, std::string(fields[1])),
         std::string(line), fields[2] != "advice"});
    lines.remove_prefix(end + 1);
  }
  return report;
}

}  // namespace farcall::security
