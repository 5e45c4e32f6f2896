#include "gpu_server/control_socket.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "transport/base/clock.h"
#include "transport/base/limits_containment.h"
#include "transport/base/log.h"

namespace farcall::server {
namespace {

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return Status(Code::kUnsupported, path + ": too long for a socket, 107 bytes are the most");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

int connect_to(const Fd& socket, const sockaddr_un& address) {
  return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

// Up to a line feed, or the end.
Result<std::string> read_line(const Fd& socket, std::size_t most) {
  const Deadline deadline = Deadline::after(system_clock(), limits::kControlMs);
  std::string line;
  while (line.size() < most && (line.empty() || line.back() != '\n')) {
    pollfd wait{.fd = socket.get(), .events = POLLIN, .revents = 0};
    const int ready = ::poll(&wait, 1, deadline.left_ms());
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return Status(Code::kTimeout, "no whole line came");
    char room[4096];
    const ssize_t got = ::recv(socket.get(), room, std::min(sizeof room, most - line.size()), 0);
    if (got < 0) return Status::system("read from a control socket");
    if (got == 0) break;
    line.append(room, static_cast<std::size_t>(got));
  }
  if (line.empty() || line.back() != '\n') return Status(Code::kMalformed, "no whole line came");
  line.pop_back();
  return line;
}

// An answer may be longer than the socket holds at once.
Status write_line(const Fd& socket, std::string line) {
  const Deadline deadline = Deadline::after(system_clock(), limits::kControlMs);
  line += '\n';
  for (std::size_t at = 0; at < line.size();) {
    pollfd wait{.fd = socket.get(), .events = POLLOUT, .revents = 0};
    if (::poll(&wait, 1, deadline.left_ms()) == 0) return {Code::kTimeout, "nobody reads"};
    const ssize_t sent =
        ::send(socket.get(), line.data() + at, line.size() - at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return Status::system("answer");
    if (sent > 0) at += static_cast<std::size_t>(sent);
  }
  return ok();
}

}  // namespace

std::string control_folder() {
  if (::geteuid() == 0) return "/run/farcall";
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  return runtime == nullptr || *runtime == 0 ? "" : std::string(runtime) + "/farcall";
}

std::string control_path(std::uint16_t port) {
  const std::string folder = control_folder();
  return folder.empty() ? "" : folder + "/server-" + std::to_string(port) + ".sock";
}

Result<std::unique_ptr<ControlSocket>> ControlSocket::open(const std::string& path, Answer answer) {
  Result<sockaddr_un> address = address_of(path);
  if (!address.ok()) return address.status();
  const std::string folder = std::filesystem::path(path).parent_path();
  if (!folder.empty() && ::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return Status::system("make the folder " + folder);
  }
  Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  Fd stop(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!listener || !probe || !stop) return Status::system("make a control socket");
  if (connect_to(probe, address.value()) == 0) {
    return Status(Code::kBusy, "a server listens at " + path + " already");
  }
  if (errno == ECONNREFUSED) (void)::unlink(path.c_str());
  // The file takes the socket's mode from its first moment on.
  if (::fchmod(listener.get(), 0600) != 0 ||
      ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address.value()),
             sizeof(sockaddr_un)) != 0 ||
      ::listen(listener.get(), 4) != 0) {
    return Status::system("listen at " + path);
  }
  return std::unique_ptr<ControlSocket>(
      new ControlSocket(path, std::move(listener), std::move(stop), std::move(answer)));
}

ControlSocket::ControlSocket(std::string path, Fd listener, Fd stop, Answer answer)
    : path_(std::move(path)),
      listener_(std::move(listener)),
      stop_(std::move(stop)),
      answer_(std::move(answer)),
      thread_([this] { serve(); }) {}

ControlSocket::~ControlSocket() {
  const std::uint64_t one = 1;
  static_cast<void>(!::write(stop_.get(), &one, sizeof one));
  thread_.join();
  (void)::unlink(path_.c_str());
}

void ControlSocket::serve() {
  for (;;) {
    pollfd wait[] = {{.fd = listener_.get(), .events = POLLIN, .revents = 0},
                     {.fd = stop_.get(), .events = POLLIN, .revents = 0}};
    if (::poll(wait, 2, -1) < 0 && errno != EINTR) return;
    if (wait[1].revents != 0) return;
    const Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (socket) serve_one(socket);
  }
}

void ControlSocket::serve_one(const Fd& socket) const {
  ucred who{};
  socklen_t bytes = sizeof who;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &who, &bytes) != 0) return;
  if (who.uid != ::geteuid() && who.uid != 0) return;
  Result<std::string> request = read_line(socket, limits::kControlRequestBytesMax);
  if (!request.ok()) return;
  const Status told = write_line(socket, answer_(request.value(), who.uid));
  if (!told.ok()) FARCALL_LOG_INFO("control socket: %s", told.text().c_str());
}

Result<std::string> ask_server(const std::string& path, const std::string& request) {
  Result<sockaddr_un> address = address_of(path);
  if (!address.ok()) return address.status();
  const Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return Status::system("make a socket");
  if (connect_to(socket, address.value()) != 0) {
    if (errno == EACCES || errno == EPERM) {
      return Status(Code::kDenied, path + " is for the server's own user alone: try sudo");
    }
    return Status(Code::kNotFound, "no server listens at " + path);
  }
  FARCALL_TRY(write_line(socket, request));
  return read_line(socket, limits::kControlAnswerBytesMax);
}

}  // namespace farcall::server
