#include "transport/link/authority.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/file.h>

#include <algorithm>
#include <ctime>

#include "security/authority_client.h"
#include "security/crypto.h"
#include "security/key_request.h"
#include "security/tls_channel.h"
#include "transport/base/limits_authority.h"
#include "transport/base/log.h"
#include "transport/link/dial.h"
#include "transport/link/socket.h"

namespace farcall::link {
namespace {

// The wall clock may be set while one waits.
constexpr std::int64_t kLookSeconds = 30;

std::string place_text(const AuthorityPlace& place) {
  return place.host + ":" + std::to_string(place.port);
}

Result<security::AuthorityReply> ask_at(const AuthorityPlace& place,
                                        const security::TlsContext& tls,
                                        security::AuthorityRequest request,
                                        const security::Attester& attester) {
  const Deadline deadline = Deadline::after(system_clock(), limits::kAuthorityConnectionMs);
  Result<Fd> socket = connect_tcp(place.host, place.port, deadline);
  if (!socket.ok()) return socket.status();
  auto channel =
      security::TlsChannel::connect(std::move(socket).value(), tls, place.name, deadline);
  if (!channel.ok()) return channel.status();
  return security::ask_authority(*channel.value(), std::move(request), deadline, attester);
}

Status at(const AuthorityPlace& place, const Status& why) {
  return {why.code(), "authority at " + place_text(place) + ": " + why.text(), why.detail()};
}

std::uint64_t random_number() {
  std::uint64_t number = 0;
  security::fill_random(std::as_writable_bytes(std::span(&number, 1)));
  return number;
}

}  // namespace

Result<AuthorityPlace> parse_authority(std::string_view text) {
  AuthorityPlace place;
  const std::string whole(text);
  if (const std::size_t end = text.find('@'); end != std::string_view::npos) {
    place.name = text.substr(0, end);
    text.remove_prefix(end + 1);
  }
  DialOptions options;
  if (!parse_server(text, &options).ok() || options.carrier) {
    return Status(Code::kUnsupported, "\"" + whole +
                                          "\" is no place of an authority; write host:port, for "
                                          "instance ca.lab:7718");
  }
  place.host = options.host;
  place.port = options.port;
  if (place.name.empty()) place.name = place.host;
  return place;
}

namespace {

// One at a time renews the same files: two would leave one's key beside the other's certificate.
Result<Fd> lock_files(const Member& member) {
  const std::string path = member.files.certificate_path + ".lock";
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return Status::system("open " + path);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  return Status(Code::kBusy, "another process renews " + member.files.certificate_path);
}

}  // namespace

Status renew_certificate(const AuthorityPlace& place, const Member& member) {
  Result<Fd> held = lock_files(member);
  if (!held.ok()) return held.status();
  Result<security::RenewalAsk> ask = security::make_renewal(member.files, member.keep_key);
  if (!ask.ok()) return ask.status();
  Result<security::TlsContext> tls = security::TlsContext::load(member.files, member.side);
  if (!tls.ok()) return tls.status();
  Result<security::AuthorityReply> reply =
      ask_at(place, tls.value(), ask->request, member.attester);
  if (!reply.ok()) return at(place, reply.status());
  if (!reply->refusal.ok()) return at(place, reply->refusal);
  return security::take_renewal(member.files, ask.value(), reply.value());
}

Result<std::string> join_pool(const AuthorityPlace& place, const std::string& token,
                              const std::string& folder, const security::Attester& attester) {
  Result<security::JoinTokenText> text = security::parse_join_token(token);
  if (!text.ok()) return text.status();
  if (text->expires <= std::time(nullptr)) {
    return Status(Code::kDenied, "the token expired on " + security::date_text(text->expires) +
                                     ": ask for another ('farcall ca token' makes it)");
  }
  Result<security::TlsContext> tls = security::TlsContext::for_joining(text->root);
  if (!tls.ok()) return tls.status();
  Result<security::KeyRequest> key = security::make_key_request();
  if (!key.ok()) return key.status();
  const security::AuthorityRequest request{
      .kind = security::AuthorityAsk::kJoin, .name = token, .key_request = key->request};
  Result<security::AuthorityReply> reply = ask_at(place, tls.value(), request, attester);
  if (!reply.ok()) return at(place, reply.status());
  if (!reply->refusal.ok()) return at(place, reply->refusal);
  return security::take_joining(folder, text.value(), key->key_pem, reply.value());
}

CertificateKeeper::CertificateKeeper(AuthorityPlace place, Member member,
                                     std::function<void()> renewed)
    : place_(std::move(place)),
      member_(std::move(member)),
      renewed_(std::move(renewed)),
      schedule_(random_number()) {}

Result<std::unique_ptr<CertificateKeeper>> CertificateKeeper::start(AuthorityPlace place,
                                                                    Member member,
                                                                    std::function<void()> renewed) {
  std::unique_ptr<CertificateKeeper> keeper(
      new CertificateKeeper(std::move(place), std::move(member), std::move(renewed)));
  if (Status sound = keeper->look(std::time(nullptr)); !sound.ok()) return sound;
  keeper->stop_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!keeper->stop_) return Status::system("make an eventfd");
  keeper->thread_ = std::thread([self = keeper.get()] { self->run(); });
  return keeper;
}

CertificateKeeper::~CertificateKeeper() {
  const std::uint64_t one = 1;
  if (stop_) static_cast<void>(!::write(stop_.get(), &one, sizeof one));
  if (thread_.joinable()) thread_.join();
}

Status CertificateKeeper::look(std::int64_t now) {
  Result<security::CertificateFacts> facts =
      security::describe_certificate(member_.files.certificate_path);
  if (!facts.ok()) return facts.status();
  if (facts->who.serial == serial_) return ok();
  const bool is_first = serial_.empty();
  serial_ = facts->who.serial;
  schedule_.hold(facts->not_before, facts->not_after, now);
  has_failed_ = false;
  if (is_first) return ok();
  FARCALL_LOG_INFO("renewed: certificate %s is in %s", serial_.c_str(),
                   member_.files.certificate_path.c_str());
  if (renewed_) renewed_();
  return ok();
}

void CertificateKeeper::run() {
  for (;;) {
    const std::int64_t now = std::time(nullptr);
    if (Status there = look(now); !there.ok()) {
      FARCALL_LOG_ERROR("renewal: %s", there.text().c_str());
    }
    if (now >= schedule_.next()) try_now(now);
    const std::int64_t wait = std::clamp<std::int64_t>(schedule_.next() - now, 1, kLookSeconds);
    pollfd stop{.fd = stop_.get(), .events = POLLIN, .revents = 0};
    if (::poll(&stop, 1, static_cast<int>(wait * 1000)) > 0) return;
  }
}

void CertificateKeeper::try_now(std::int64_t now) {
  const Status done = renew_certificate(place_, member_);
  if (done.ok() && look(now).ok()) return;
  schedule_.failed(now);
  // The first time, and from then on when it matters.
  if (schedule_.is_pressing(now)) {
    FARCALL_LOG_ERROR("renewal: %s; %s expires in %lld min, and then nobody is let in with it",
                      done.text().c_str(), member_.files.certificate_path.c_str(),
                      static_cast<long long>(schedule_.left(now) / 60));
  } else if (!has_failed_) {
    FARCALL_LOG_WARN("renewal: %s; tried again until it works", done.text().c_str());
  }
  has_failed_ = true;
}

}  // namespace farcall::link
