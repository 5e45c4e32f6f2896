// Sockets as every connection of Farcall wants them, and the waiting on them.
//
//   Result<Fd> socket = connect_tcp("gpu1", 7717, deadline);
//   FARCALL_TRY(wait_readable(socket.value().get(), deadline));
//
// All are non-blocking and close-on-exec, without Nagle's delay, with 2 MiB buffers and keepalive:
// a peer that vanished shows after about 25 s on an idle connection.
// TCP_USER_TIMEOUT is for control connections only: Linux also counts the time a peer's window is
// closed, and a data lane whose peer waits for a long kernel may stand still for hours.
// Threads: any.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "transport/base/clock.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::link {

enum class SocketUse { kControl, kLane };

// For a socket that accept or connect gave. A Unix socket is left as it is, but for non-blocking.
void tune_socket(int fd);
// What a connected socket is for.
void set_use(int fd, SocketUse use);

// Tries every address of the name in turn. Errors: kNotFound (no such name), kTimeout, kSystem.
Result<Fd> connect_tcp(const std::string& host, std::uint16_t port, Deadline deadline);

// `count` connections to the address that `connected`, a TCP socket, leads to; they are made at the
// same time and take one round trip together.  Errors: kTimeout, kClosed when `connected` is gone,
// kSystem.
Result<std::vector<Fd>> connect_beside(int connected, std::size_t count, Deadline deadline);

// name: "@…" as listen_abstract took it.  Errors: kNotFound when nobody listens there, kSystem.
Result<Fd> connect_abstract(const std::string& name);
// True when both ends of a connection have the same address, so that one host holds them.
bool is_same_host(int fd);

// Errors: kTimeout, kSystem. A broken connection counts as readable.
Status wait_readable(int fd, Deadline deadline);

// Fills `room` whole, and takes no byte more.  Errors: kTimeout, kClosed, kSystem.
Status read_exactly(int fd, std::span<std::byte> room, Deadline deadline);
Status write_all(int fd, std::span<const std::byte> bytes, Deadline deadline);

}  // namespace farcall::link
