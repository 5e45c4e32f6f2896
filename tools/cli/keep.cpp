#include "tools/cli/keep.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <ctime>
#include <memory>

#include "tools/cli/ca_commands.h"
#include "tools/cli/connection.h"
#include "transport/base/log.h"
#include "transport/base/unique.h"
#include "transport/link/authority.h"

namespace farcall::cli {
namespace {

struct KeepOptions {
  Connection connection;
  bool keep_key = false;
  int until_fd = -1;  // a pidfd: ends with that process
};

link::Member member_of(const Connection& connection, bool keep_key) {
  return {.files = {connection.certificate, connection.key, connection.ca},
          .side = security::TlsContext::Side::kClient,
          .keep_key = keep_key};
}

// The sessions there end with the former certificate unless its successor was shown.
void show_renewed(const Connection& connection) {
  if (connection.server.empty()) return;
  if (Status shown = try_connection(connection); !shown.ok()) {
    FARCALL_LOG_WARN("the renewed certificate could not be shown to the server: %s",
                     shown.text().c_str());
  }
}

int ca_keep(const KeepOptions& options) {
  auto place = link::parse_authority(options.connection.renew_from);
  if (!place.ok()) {
    fail(place.status());
    return kExitUsage;
  }
  auto keeper = link::CertificateKeeper::start(
      place.value(), member_of(options.connection, options.keep_key),
      [connection = options.connection] { show_renewed(connection); });
  if (!keeper.ok()) return fail(keeper.status());
  pollfd end{.fd = options.until_fd, .events = POLLIN, .revents = 0};
  while (::poll(&end, 1, -1) < 0 && errno == EINTR) {
  }
  return 0;
}

// In the grandchild: nobody waits for it, and it holds nothing open that the program has.
[[noreturn]] void become_keeper(std::vector<std::string>& words, int pid_fd) {
  const Fd nowhere(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (nowhere) {
    ::dup2(nowhere.get(), STDIN_FILENO);
    ::dup2(nowhere.get(), STDOUT_FILENO);
  }
  ::fcntl(pid_fd, F_SETFD, 0);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  ::execv("/proc/self/exe", arguments.data());
  ::_exit(kExitFarcall);
}

}  // namespace

Status keep_renewing(const Connection& connection) {
  Result<link::AuthorityPlace> place = link::parse_authority(connection.renew_from);
  if (!place.ok()) return {place.status().code(), "--renew-from: " + place.status().text()};
  Fd self(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  if (!self) return Status::system("watch this process");
  std::vector<std::string> words = {"farcall", "ca", "keep"};
  const auto add = [&](const char* flag, const std::string& value) {
    if (!value.empty()) words.insert(words.end(), {flag, value});
  };
  add("--renew-from", connection.renew_from);
  add("--cert", connection.certificate);
  add("--key", connection.key);
  add("--ca", connection.ca);
  add("--server", connection.server);
  add("--name", connection.server_name);
  add("--deny-list", connection.deny_list);
  add("--lease", connection.lease);
  add("--until-fd", std::to_string(self.get()));
  const pid_t child = ::fork();
  if (child < 0) return Status::system("start what renews");
  if (child == 0) {
    if (::fork() == 0) become_keeper(words, self.get());
    ::_exit(0);
  }
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return ok();
}

void add_ca_keep(CLI::App& ca, Act* act) {
  auto options = std::make_shared<KeepOptions>();
  Connection& to = options->connection;
  auto* keep = ca.add_subcommand("keep", "Renew a certificate again and again, while this runs");
  keep->add_option("--cert", to.certificate, "the certificate, PEM; replaced")->required();
  keep->add_option("--key", to.key, "its private key, PEM; replaced")->required();
  keep->add_option("--ca", to.ca, "the pool's authority, PEM")->required();
  keep->add_option("--renew-from", to.renew_from,
                   "host:port of farcall ca serve, or NAME@host:port where it has another name")
      ->required();
  keep->add_option("--server", to.server,
                   "servers with sessions of yours, HOST:PORT with commas between: they are shown "
                   "the new certificate, or the sessions would end with the former one");
  keep->add_option("--name", to.server_name, "name the server's certificate carries, if not HOST");
  keep->add_option("--deny-list", to.deny_list, "revoked certificates; a server on it is refused");
  keep->add_option("--lease", to.lease, "file of lease tokens: the key that they are for is kept");
  keep->add_flag("--keep-key", options->keep_key, "make no new private key");
  keep->add_option("--until-fd", options->until_fd)->group("");
  keep->footer(
      "For a client's certificate; farcall-server --renew-from does it for a server's. Renews "
      "when\n"
      "half of the certificate's life is over, tries again until it works, and warns while there\n"
      "is time. farcall run --renew-from starts it beside the program. Exit status: 2 wrong "
      "usage,\n"
      "125 it cannot begin.\n"
      "Example:\n  farcall ca keep --cert ana.crt --key ana.key --ca ca.crt --renew-from "
      "ca.lab:7718");
  keep->callback([options, act] {
    if (!options->connection.lease.empty()) options->keep_key = true;
    *act = [options] { return ca_keep(*options); };
  });
}

}  // namespace farcall::cli
