// farcall check: the program on the software GPU, in the place of this process, with all checks on;
// and what check and run have in common.
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "tools/cli/check.h"
#include "tools/cli/commands.h"
#include "tools/cli/places.h"

namespace farcall::cli {

int become_program(const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  for (const std::string& word : command) {
    arguments.push_back(const_cast<char*>(word.c_str()));
  }
  arguments.push_back(nullptr);
  ::execvp(arguments[0], arguments.data());
  const int why = errno;
  (void)fail(Status::system("run " + command[0], why));
  return why == ENOENT ? kExitNotFound : kExitNotExecutable;
}

int check_program(const CheckOptions& options) {
  const Places places = find_places();
  const std::string& driver = places.software_gpu;
  if (!is_file(driver)) {
    return fail("the software GPU " + driver + " is missing: build or install Farcall whole");
  }
  std::string preload = driver;
  if (is_file(places.nvrtc_preload)) preload += ":" + places.nvrtc_preload;
  if (const char* others = std::getenv("LD_PRELOAD"); others != nullptr && *others != 0) {
    preload += std::string(":") + others;
  }
  ::setenv("LD_PRELOAD", preload.c_str(), 1);
  ::setenv("FARCALL_SOFTGPU_CHECK", options.what.c_str(), 1);
  ::setenv("FARCALL_SOFTGPU_CHECK_EXIT", std::to_string(options.exit_code).c_str(), 1);
  return become_program(options.command);
}

}  // namespace farcall::cli
