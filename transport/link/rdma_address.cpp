#include "transport/link/rdma_address.h"

#include <netdb.h>
#include <netinet/in.h>

#include <cstring>

namespace farcall::link {

Result<RdmaAddress> RdmaAddress::resolve(const std::string& text) { return look_up(text, 0); }
Result<RdmaAddress> RdmaAddress::parse(const std::string& text) {
  return look_up(text, AI_NUMERICHOST);
}

Result<RdmaAddress> RdmaAddress::look_up(const std::string& text, int flags) {
  const std::size_t colon = text.rfind(':');
  const bool bare_v6 = colon != std::string::npos && text.find(':') != colon && text[0] != '[';
  const bool has_port = colon != std::string::npos && !bare_v6 && text.back() != ']';
  std::string host = has_port ? text.substr(0, colon) : text;
  const std::string port = has_port ? text.substr(colon + 1) : "0";
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | flags;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) return Status(Code::kNotFound, text + ": " + ::gai_strerror(error));
  RdmaAddress address;
  std::memcpy(&address.storage_, found->ai_addr, found->ai_addrlen);
  address.bytes_ = found->ai_addrlen;
  ::freeaddrinfo(found);
  return address;
}

// At the same place in both families.
std::uint16_t RdmaAddress::port() const {
  return ntohs(reinterpret_cast<const sockaddr_in*>(&storage_)->sin_port);
}

bool RdmaAddress::is_any() const {
  if (storage_.ss_family == AF_INET6) {
    return IN6_IS_ADDR_UNSPECIFIED(&reinterpret_cast<const sockaddr_in6*>(&storage_)->sin6_addr);
  }
  return reinterpret_cast<const sockaddr_in*>(&storage_)->sin_addr.s_addr == INADDR_ANY;
}

std::string RdmaAddress::with_port(std::uint16_t port) const {
  char host[NI_MAXHOST] = "?";
  ::getnameinfo(get(), bytes_, host, sizeof host, nullptr, 0, NI_NUMERICHOST);
  const bool v6 = storage_.ss_family == AF_INET6;
  return (v6 ? "[" : "") + std::string(host) + (v6 ? "]:" : ":") + std::to_string(port);
}

}  // namespace farcall::link
