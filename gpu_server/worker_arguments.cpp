#include "gpu_server/worker_arguments.h"

#include <cstdlib>

namespace farcall::server {

bool WorkerArguments::read(int count, char** words) {
  for (int i = 1; i < count; i += 2) {
    if (i + 1 == count || !take(words[i], words[i + 1])) return false;
  }
  return driver != nullptr;
}

bool WorkerArguments::take(std::string_view name, const char* word) {
  if (name == "--driver") {
    driver = word;
  } else if (name == "--rdma") {
    rdma_address = word;
  } else if (name == "--module-cache") {
    cache_bytes = std::strtoull(word, nullptr, 10);
  } else if (name == "--families") {
    families = std::strtoull(word, nullptr, 10);
  } else if (name == "--scrub") {
    return take_scrub(word);
  } else if (name == "--ledger") {
    ledger_slot = static_cast<int>(std::strtol(word, nullptr, 10));
  } else if (name == "--facts") {
    tells_facts = true;
  } else if (name == "--turns") {
    takes_turns = true;
  } else if (name == "--name") {
    server_name = word;
  } else if (name == "--peers") {
    add_peers(word);
  } else if (name == "--uid") {
    sandbox.uid = static_cast<std::uint32_t>(std::strtoul(word, nullptr, 10));
  } else if (name == "--code") {
    tells_code = true;
  } else if (name == "--only-report") {
    only_report = true;
  } else {
    return take_sandbox(name, word);
  }
  return true;
}

bool WorkerArguments::take_scrub(const char* word) {
  Result<Scrub::Mode> mode = Scrub::parse(word);
  if (mode.ok()) scrub = mode.value();
  return mode.ok();
}

bool WorkerArguments::take_sandbox(std::string_view name, const char* word) {
  if (name == "--no-namespaces") {
    sandbox.namespaces = Status(Code::kUnsupported, word);
    return true;
  }
  Result<security::SandboxMode> mode = security::parse_sandbox_mode(word);
  if (mode.ok()) sandbox.mode = mode.value();
  return name == "--namespaces" || (name == "--sandbox" && mode.ok());
}

void WorkerArguments::add_peers(std::string_view list) {
  for (std::size_t end = 0; end != std::string_view::npos; list.remove_prefix(end + 1)) {
    end = list.find(',');
    peers.emplace_back(list.substr(0, end));
    if (end == std::string_view::npos) return;
  }
}

}  // namespace farcall::server
