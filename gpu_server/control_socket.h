// ControlSocket: how whoever runs a server talks to it, on its own host.
//
//   auto control = ControlSocket::open("/run/farcall/server-7717.sock", answer);   // a server
//   Result<std::string> said = ask_server(path, "release 1a2b3c4d");               // farcall
//
// A Unix socket of mode 0600: the kernel lets only the server's own user (and root) connect, and
// the server looks once more at who did. A request is a line of words, the answer a line of JSON:
// {"ok":true, …} or {"ok":false,"error":"…"}. One request a connection, one at a time: nothing here
// is fast, and nobody can keep the server waiting longer than limits::kControlMs.
// Files in a folder would have done for orders, but not for their answers: who releases a session
// wants to know whether there was anything to release.
// Owner: the supervisor.  Threads: one of its own, which calls `answer`.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::server {

// /run/farcall for root, else farcall below XDG_RUNTIME_DIR; empty where there is none.
std::string control_folder();
// "server-7717.sock" in that folder; empty where there is none.
std::string control_path(std::uint16_t port);

class ControlSocket {
 public:
  // uid: who asks.  Must not block.
  using Answer = std::function<std::string(const std::string& request, uid_t uid)>;
  // Makes the folder (0700) where it is not there. What a server that was killed left is replaced.
  // Errors: kBusy (a server listens there), kSystem.
  static Result<std::unique_ptr<ControlSocket>> open(const std::string& path, Answer answer);
  ~ControlSocket();
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;

 private:
  ControlSocket(std::string path, Fd listener, Fd stop, Answer answer);
  void serve();
  void serve_one(const Fd& socket) const;

  const std::string path_;
  const Fd listener_;
  const Fd stop_;  // eventfd
  const Answer answer_;
  std::thread thread_;
};

// Errors: kNotFound (no server listens there), kDenied (not yours), kTimeout, kSystem.
Result<std::string> ask_server(const std::string& path, const std::string& request);

}  // namespace farcall::server
