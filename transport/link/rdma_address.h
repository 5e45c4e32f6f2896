// RdmaAddress: an address with its port, as rdmacm takes it and as a place is written.
//
//   Result<RdmaAddress> address = RdmaAddress::parse("10.0.0.2:41234");
//   plugin->connect(context, address.value().get(), address.value().bytes(), …);
//
// Threads: a plain value.
#pragma once
#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "transport/base/status.h"

namespace farcall::link {

class RdmaAddress {
 public:
  // "host", "host:port", "[v6]:port"; port 0 when none is named.  Errors: kNotFound.
  static Result<RdmaAddress> resolve(const std::string& text);  // asks for names: may take a while
  static Result<RdmaAddress> parse(const std::string& text);    // takes numbers only

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t bytes() const { return bytes_; }
  std::uint16_t port() const;
  bool is_any() const;  // 0.0.0.0 or ::
  // As parse takes it, with another port.
  std::string with_port(std::uint16_t port) const;

 private:
  static Result<RdmaAddress> look_up(const std::string& text, int flags);
  sockaddr_storage storage_{};
  socklen_t bytes_ = 0;
};

}  // namespace farcall::link
