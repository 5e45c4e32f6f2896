// farcall demo: a command in a throw-away pool, and what it cost.
#include <cstdio>
#include <cstdlib>

#include "tools/cli/commands.h"
#include "tools/cli/connection.h"
#include "tools/cli/places.h"
#include "tools/cli/pool.h"
#include "tools/cli/summary.h"

namespace farcall::cli {

int run_demo(const DemoOptions& options) {
  const Places places = find_places();
  std::vector<std::string> command = options.command;
  if (command.empty()) {
    if (!is_file(places.training_job)) {
      return fail(
          "the training job is not built, for want of nvcc: install a CUDA toolkit with "
          "nvcc, or give a program: farcall demo -- ./my_cuda_program");
    }
    command = {places.training_job};
  }
  auto pool = Pool::start({.driver = options.driver, .gpus = options.gpus, .keep = options.keep});
  if (!pool.ok()) return fail(pool.status());
  // Only the program gets the shim: this process goes on unhooked.
  const char* preload = std::getenv("LD_PRELOAD");
  const std::string before = preload == nullptr ? "" : preload;
  export_environment(pool.value()->connection(), places);
  if (options.driver.empty() && is_file(places.nvrtc_preload)) {
    ::setenv("LD_PRELOAD", (std::getenv("LD_PRELOAD") + (":" + places.nvrtc_preload)).c_str(), 1);
  }
  ::setenv("FARCALL_STATS", pool.value()->stats_file().c_str(), 1);
  std::fprintf(stderr, "farcall: pool on %s, device from %s; running %s\n",
               pool.value()->connection().server.c_str(),
               options.driver.empty() ? "the software GPU" : options.driver.c_str(),
               command[0].c_str());
  auto program = Child::start(command, "");
  before.empty() ? ::unsetenv("LD_PRELOAD") : ::setenv("LD_PRELOAD", before.c_str(), 1);
  if (!program.ok()) return fail(program.status());
  const int code = program.value().wait();
  if (options.summary) {
    std::fflush(stdout);
    std::fputs(summarize(pool.value()->stats_file()).c_str(), stderr);
  }
  if (options.keep) {
    std::fprintf(stderr, "farcall: certificates, server log and figures are in %s\n",
                 pool.value()->folder().c_str());
  }
  return code;
}

}  // namespace farcall::cli
