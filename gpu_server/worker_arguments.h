// WorkerArguments: what farcall-server tells a farcall-worker on its command line.
//
//   WorkerArguments arguments;
//   if (!arguments.read(argc, argv)) return 2;
//
// Every word has a value behind it. Written by worker_process.cpp, and by nobody else.
// Owner: plain values; texts are the command line's own.  Threads: one.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gpu_server/scrub.h"
#include "security/sandbox.h"

namespace farcall::server {

struct WorkerArguments {
  const char* driver = nullptr;
  const char* rdma_address = nullptr;
  Scrub::Mode scrub = Scrub::Mode::kVerify;
  std::uint64_t cache_bytes = 0;  // 0: there is no folder of images
  int ledger_slot = -1;           // -1: there is no ledger
  bool tells_facts = false;       // there are a page and a pipe for facts
  bool takes_turns = false;       // there is a doorbell
  std::uint64_t families = ~std::uint64_t{0};
  std::string server_name;
  std::vector<std::string> peers;  // servers that this one talks to
  security::SandboxPlan sandbox;
  bool tells_code = false;   // what it runs, to the supervisor
  bool only_report = false;  // of the sandbox, to the supervisor

  // False where they are not a worker's.
  bool read(int count, char** words);

 private:
  bool take(std::string_view name, const char* word);
  bool take_scrub(const char* word);
  bool take_sandbox(std::string_view name, const char* word);
  void add_peers(std::string_view list);
};

}  // namespace farcall::server
