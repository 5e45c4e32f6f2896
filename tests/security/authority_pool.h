// AuthorityPool: an authority in a folder with its service, and members that ask it, over real TLS
// on a socket pair.
//
//   AuthorityPool pool;
//   Member ann = pool.client("ann");
//   Status done = pool.renew(ann);                // the files of `ann` are replaced
//
// Threads: one; each exchange has a second one, for the service.
#pragma once
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <array>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "security/authority_client.h"
#include "security/authority_service.h"
#include "security/ca_folder.h"
#include "security/key_request.h"
#include "security/tls.h"
#include "security/tls_channel.h"

namespace farcall::testing {

// Long, for machines under load; nothing waits for it to pass.
inline Deadline patience() { return Deadline::after(system_clock(), 60'000); }

struct Member {
  security::IdentityFiles files;
  security::TlsContext::Side side = security::TlsContext::Side::kClient;
};

class AuthorityPool {
 public:
  explicit AuthorityPool(std::int64_t life_seconds = 7 * 86'400) {
    // An authority waits for the disk at each step, and a test need not.
    std::array<char, 64> in_memory{"/dev/shm/farcall-test-XXXXXX"};
    std::array<char, 64> on_disk{"/tmp/farcall-test-XXXXXX"};
    const char* made = ::mkdtemp(in_memory.data());
    if (made == nullptr) made = ::mkdtemp(on_disk.data());
    REQUIRE(made != nullptr);
    folder_ = made;
    REQUIRE(security::CaFolder::create(path("ca"), {.pool = "lab"}).ok());
    auto ca = security::CaFolder::open(path("ca"));
    REQUIRE(ca.ok());
    ca_.emplace(std::move(ca).value());
    auto service = security::AuthorityService::open(
        {.folder = path("ca"), .life_seconds = life_seconds, .names = {"ca.lab"}});
    REQUIRE_MESSAGE(service.ok(), service.status().to_string());
    service_.emplace(std::move(service).value());
  }
  ~AuthorityPool() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  AuthorityPool(const AuthorityPool&) = delete;
  AuthorityPool& operator=(const AuthorityPool&) = delete;

  std::string path(const std::string& file) const { return folder_ + "/" + file; }
  security::CaFolder& ca() { return *ca_; }
  security::AuthorityService& service() { return *service_; }
  // Another service for the same folder.
  void serve_with(security::AuthorityService::Settings settings) {
    auto service = security::AuthorityService::open(std::move(settings));
    REQUIRE_MESSAGE(service.ok(), service.status().to_string());
    service_.emplace(std::move(service).value());
  }

  Member issue(const std::string& name, const security::LeafOptions& options) {
    auto issued = ca_->issue(options);
    REQUIRE_MESSAGE(issued.ok(), issued.status().to_string());
    REQUIRE(security::save(issued.value(), path(name + ".crt"), path(name + ".key")).ok());
    const bool is_server = options.use == security::Use::kServer;
    return {{path(name + ".crt"), path(name + ".key"), path("ca/ca.crt")},
            is_server ? security::TlsContext::Side::kPeer : security::TlsContext::Side::kClient};
  }
  Member client(const std::string& name, std::int64_t seconds = 0) {
    security::LeafOptions options;
    options.tenant = "acme";
    options.user = name;
    options.zone = "lab";
    options.role = "trainer";
    options.seconds = seconds;
    return issue(name, options);
  }
  Member server(const std::string& name) {
    security::LeafOptions options;
    options.use = security::Use::kServer;
    options.host = name;
    options.names = {name + ".lab"};
    return issue(name, options);
  }
  static security::PeerIdentity who(const Member& member) {
    auto facts = security::describe_certificate(member.files.certificate_path);
    REQUIRE_MESSAGE(facts.ok(), facts.status().to_string());
    return facts->who;
  }

  // What the service answers, or why it came to no answer.
  Result<security::AuthorityReply> ask(const security::TlsContext& tls,
                                       const security::AuthorityRequest& request,
                                       const security::Attester& attester = {}) {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    std::thread serving([this, end = ends[1]] { serve(Fd(end)); });
    Result<security::AuthorityReply> reply = Status(Code::kClosed, "no answer");
    auto channel = security::TlsChannel::connect(Fd(ends[0]), tls, "ca.lab", patience());
    if (channel.ok()) {
      reply = security::ask_authority(*channel.value(), request, patience(), attester);
      channel.value()->close();
    } else {
      reply = channel.status();
    }
    serving.join();
    return reply;
  }
  Result<security::AuthorityReply> ask(const Member& member,
                                       const security::AuthorityRequest& request,
                                       const security::Attester& attester = {}) {
    auto tls = security::TlsContext::load(member.files, member.side);
    if (!tls.ok()) return tls.status();
    return ask(tls.value(), request, attester);
  }
  Status renew(const Member& member, bool keep_key = false,
               const security::Attester& attester = {}) {
    auto asked = security::make_renewal(member.files, keep_key);
    if (!asked.ok()) return asked.status();
    auto reply = ask(member, asked->request, attester);
    if (!reply.ok()) return reply.status();
    return security::take_renewal(member.files, asked.value(), reply.value());
  }
  std::string token(const std::string& server, std::int64_t seconds = 900) {
    security::JoinGrant grant;
    grant.who.host = server;
    grant.who.zone = "lab";
    grant.names = {server + ".lab"};
    grant.life_seconds = 7 * 86'400;
    auto made = ca_->make_token(std::move(grant), seconds);
    REQUIRE_MESSAGE(made.ok(), made.status().to_string());
    return made.value();
  }
  // The path of the new certificate, in `folder`.
  Result<std::string> join(const std::string& token, const std::string& folder,
                           const security::Attester& attester = {}) {
    auto text = security::parse_join_token(token);
    if (!text.ok()) return text.status();
    auto tls = security::TlsContext::for_joining(text->root);
    REQUIRE(tls.ok());
    auto key = security::make_key_request();
    REQUIRE(key.ok());
    auto reply =
        ask(tls.value(),
            {.kind = security::AuthorityAsk::kJoin, .name = token, .key_request = key->request},
            attester);
    if (!reply.ok()) return reply.status();
    std::filesystem::create_directories(path(folder));
    return security::take_joining(path(folder), text.value(), key->key_pem, reply.value());
  }
  std::size_t served() const { return served_; }

 private:
  void serve(Fd socket) {
    auto tls = service_->context();
    if (!tls.ok()) return;
    auto channel = security::TlsChannel::accept(std::move(socket), tls.value(), patience());
    if (!channel.ok()) return service_->refused("10.0.0.7:1", channel.status(), std::time(nullptr));
    auto request = security::receive_request(*channel.value(), patience());
    if (!request.ok()) return;
    ++served_;
    const bool is_member = channel.value()->has_peer();
    const auto nonce = security::quote_nonce(*channel.value());
    const auto reply =
        service_->answer({is_member ? &channel.value()->peer() : nullptr, "10.0.0.7:1",
                          nonce.ok() ? nonce.value() : security::Sha256{}},
                         request.value(), std::time(nullptr));
    static_cast<void>(channel.value()->send(encode(reply), patience()));
  }

  std::string folder_;
  std::optional<security::CaFolder> ca_;
  std::optional<security::AuthorityService> service_;
  std::size_t served_ = 0;  // questions that were read
};

}  // namespace farcall::testing
