// The certificate matrix: every way a certificate can be wrong, shown to a server and to a client
// that are as they should be. Nobody of them gets in, and no byte of theirs behind the handshake is
// ever delivered: there is no channel to read it from. TLS by itself, without our own client's
// checks on its own certificate, so that it is the far end that refuses.
#include <doctest/doctest.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <ctime>
#include <functional>
#include <string>
#include <thread>

#include "security/ca_parts.h"
#include "security/ca_revoke.h"
#include "security/file.h"
#include "security/tls.h"
#include "security/tls_channel.h"
#include "tests/security/test_pool.h"

using namespace farcall;
using namespace farcall::security;
using farcall::testing::TestPool;

namespace {

constexpr std::int64_t kDay = 86'400;

Deadline soon() { return Deadline::after(system_clock(), 5'000); }

// A pool of two levels: root, issuing authority, and whatever a case makes of them.
struct Matrix {
  TestPool pool;
  TestPool foreign{"lab"};  // of the same name: what counts is the key
  IssuedIdentity issuing;
  IssuedIdentity revoked_issuing;

  Matrix() {
    for (IssuedIdentity* one : {&issuing, &revoked_issuing}) {
      Result<IssuedIdentity> made = create_issuing(pool.ca());
      REQUIRE_MESSAGE(made.ok(), made.status().to_string());
      *one = std::move(made).value();
    }
  }
  Authority authority(const IssuedIdentity& files) const {
    Result<Authority> read = Authority::read(files);
    REQUIRE_MESSAGE(read.ok(), read.status().to_string());
    return std::move(read).value();
  }
};

// What a certificate of the matrix says; as it stands, a good client's.
struct Said {
  std::string uri = "URI:spiffe://lab/tenant/acme/user/ann";
  std::string purpose = "critical,clientAuth";  // empty: none stated
  std::string usage = "critical,digitalSignature";
  std::string constraints = "critical,CA:FALSE";
  std::int64_t from = -60;     // from now
  std::int64_t until = 3'600;  // from now
};
Said a_server() {
  return {.uri = "URI:spiffe://lab/server/gpu1,DNS:gpu1.test", .purpose = "critical,serverAuth"};
}

// by: null signs itself.
IssuedIdentity make(const Said& said, const IssuedIdentity* by, const Matrix& matrix) {
  Result<KeyPtr> key = make_key();
  REQUIRE(key.ok());
  Plan plan;
  plan.common_name = "matrix";
  plan.from = std::time(nullptr) + said.from;
  plan.until = std::time(nullptr) + said.until;
  plan.extensions = {{NID_basic_constraints, said.constraints},
                     {NID_key_usage, said.usage},
                     {NID_subject_key_identifier, "hash"}};
  if (!said.uri.empty()) plan.extensions.push_back({NID_subject_alt_name, said.uri});
  if (!said.purpose.empty()) plan.extensions.push_back({NID_ext_key_usage, said.purpose});
  if (by != nullptr) plan.extensions.push_back({NID_authority_key_identifier, "keyid"});
  std::optional<Authority> authority;
  if (by != nullptr) authority.emplace(matrix.authority(*by));
  Result<X509Ptr> made = sign(plan, key.value().get(), authority ? &*authority : nullptr);
  REQUIRE_MESSAGE(made.ok(), made.status().to_string());
  Result<IssuedIdentity> issued =
      to_pem(made.value().get(), key.value().get(), by == nullptr ? "" : by->certificate_pem);
  REQUIRE(issued.ok());
  return std::move(issued).value();
}

struct Case {
  const char* what;
  std::function<IssuedIdentity(const Matrix&, Said)> make;
  const char* refusal;  // what the refusing end says
};

IssuedIdentity changed(const Matrix& matrix, Said said, const std::function<void(Said&)>& change) {
  change(said);
  return make(said, &matrix.issuing, matrix);
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"expired",
       [](const Matrix& m, Said s) {
         return changed(m, s, [](Said& it) { it.from = -2 * kDay, it.until = -kDay; });
       },
       "expired on"},
      {"not valid yet",
       [](const Matrix& m, Said s) {
         return changed(m, s, [](Said& it) { it.from = kDay, it.until = 2 * kDay; });
       },
       "not valid yet"},
      {"of another authority", [](const Matrix& m, Said s) { return make(s, &m.foreign.ca(), m); },
       "not issued by our CA"},
      {"signed by itself", [](const Matrix& m, Said s) { return make(s, nullptr, m); },
       "not issued by our CA"},
      {"issued by a leaf",
       [](const Matrix& m, Said s) {
         // Authority::read takes no leaf, so this one claims to be an authority, and its issuer's
         // path length forbids that.
         Said above;
         above.uri = "URI:spiffe://lab";
         above.purpose.clear();
         above.constraints = "critical,CA:TRUE";
         above.usage = "critical,keyCertSign,cRLSign";
         const IssuedIdentity middle = make(above, &m.issuing, m);
         return make(s, &middle, m);
       },
       "refused"},
      {"without a purpose",
       [](const Matrix& m, Said s) { return changed(m, s, [](Said& it) { it.purpose.clear(); }); },
       "wrong kind"},
      {"for another purpose",
       [](const Matrix& m, Said s) {
         return changed(m, s, [](Said& it) { it.purpose = "critical,emailProtection"; });
       },
       "wrong kind"},
      {"for the other side",
       [](const Matrix& m, Said s) {
         const bool client = s.purpose.find("client") != std::string::npos;
         return make(client ? a_server() : Said{}, &m.issuing, m);
       },
       "wrong kind"},
      {"an authority's, with a purpose",
       [](const Matrix& m, Said s) {
         return changed(m, s, [](Said& it) { it.uri = "URI:spiffe://lab,DNS:gpu1.test"; });
       },
       "names no member of this pool"},
      {"of another pool of the same authority",
       [](const Matrix& m, Said s) {
         return changed(m, s, [](Said& it) { it.uri.replace(it.uri.find("lab"), 3, "bar"); });
       },
       "names no member of this pool"},
      {"with two identities",
       [](const Matrix& m, Said s) {
         return changed(m, s, [](Said& it) { it.uri += ",URI:spiffe://lab/server/gpu2"; });
       },
       "names no member of this pool"},
      {"with no identity",
       [](const Matrix& m, Said s) {
         return changed(m, s, [](Said& it) { it.uri = "DNS:gpu1.test"; });
       },
       "names no member of this pool"},
      {"revoked",
       [](const Matrix& m, Said s) {
         return make(s, &m.issuing, m);  // and put on the list by the test
       },
       "was revoked on"},
      {"of a revoked authority",
       [](const Matrix& m, Said s) { return make(s, &m.revoked_issuing, m); }, "was revoked on"},
  };
  return all;
}

struct Outcome {
  Status server;
  Status client;
  bool reached = false;  // a byte of one application came to the other
};

// Both ends say a byte as soon as they may.
Outcome meet(const TlsContext& server, const TlsContext& client) {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  Fd a(ends[0]), b(ends[1]);
  Outcome outcome;
  const std::array<std::byte, 1> hello{std::byte{'!'}};
  std::array<std::byte, 1> heard_there, heard_here;
  bool there = false;
  std::thread serving([&] {
    auto channel = TlsChannel::accept(std::move(a), server, soon());
    outcome.server = channel.status();
    if (!channel.ok()) return;
    static_cast<void>(channel.value()->send(hello, soon()));
    outcome.server = channel.value()->receive(heard_there, soon());
    there = outcome.server.ok();
  });
  bool here = false;
  {
    auto channel = TlsChannel::connect(std::move(b), client, "gpu1.test", soon());
    outcome.client = channel.status();
    if (channel.ok()) {
      static_cast<void>(channel.value()->send(hello, soon()));
      outcome.client = channel.value()->receive(heard_here, soon());
      here = outcome.client.ok();
    }
  }
  serving.join();
  outcome.reached = here || there;
  return outcome;
}

void show(const TlsContext& tls, const IssuedIdentity& odd, const TestPool& pool) {
  const std::string certificate = pool.path("odd.crt"), key = pool.path("odd.key");
  std::filesystem::remove(certificate);
  std::filesystem::remove(key);
  REQUIRE(save(odd, certificate, key).ok());
  REQUIRE(SSL_CTX_use_certificate_chain_file(tls.native(), certificate.c_str()) == 1);
  REQUIRE(SSL_CTX_use_PrivateKey_file(tls.native(), key.c_str(), SSL_FILETYPE_PEM) == 1);
}

PeerIdentity who(const IssuedIdentity& issued) {
  Result<X509Ptr> parsed = parse_certificate(bytes_of(issued.certificate_pem), "a certificate");
  REQUIRE(parsed.ok());
  Result<PeerIdentity> read = identity_of(parsed.value().get());
  return read.ok() ? read.value() : PeerIdentity{};
}

// Two lists in one: the root's, with an authority, and the issuing authority's, with a leaf.
PeerPolicy policy(const Matrix& matrix, const IssuedIdentity& leaf) {
  const std::int64_t now = std::time(nullptr);
  const Revocation above{who(matrix.revoked_issuing).serial, now, "authority-compromise"};
  auto list = add_to_deny_list(matrix.pool.ca(), "", std::span(&above, 1));
  REQUIRE_MESSAGE(list.ok(), list.status().to_string());
  const Revocation below{who(leaf).serial, now, "key-compromise"};
  list = add_to_deny_list(matrix.issuing, list.value(), std::span(&below, 1));
  REQUIRE_MESSAGE(list.ok(), list.status().to_string());
  REQUIRE(replace_file(matrix.pool.path("deny.crl"), bytes_of(list.value()), 0644).ok());
  auto opened = DenyList::open(matrix.pool.path("deny.crl"), matrix.pool.path("ca.crt"));
  REQUIRE_MESSAGE(opened.ok(), opened.status().to_string());
  return {.deny_list = opened.value(), .client_zones = {}};
}

TlsContext load(const IdentityFiles& files, TlsContext::Side side, PeerPolicy policy = {}) {
  Result<TlsContext> tls = TlsContext::load(files, side, std::move(policy));
  REQUIRE_MESSAGE(tls.ok(), tls.status().to_string());
  return std::move(tls).value();
}

bool says(const Status& status, const std::string& words) {
  return status.text().find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("no certificate that is wrong in any way lets a client in, or a server be believed") {
  Matrix matrix;
  const IssuedIdentity nobody = make(Said{}, &matrix.issuing, matrix);
  for (const bool client_is_odd : {true, false}) {
    for (const Case& one : cases()) {
      CAPTURE(client_is_odd);
      CAPTURE(std::string(one.what));
      const IssuedIdentity odd = one.make(matrix, client_is_odd ? Said{} : a_server());
      const bool on_list = std::string(one.what) == "revoked";
      const PeerPolicy rules = policy(matrix, on_list ? odd : nobody);
      TlsContext server = load(matrix.pool.server(), TlsContext::Side::kServer, rules);
      TlsContext client = load(matrix.pool.client(), TlsContext::Side::kClient, rules);
      const TlsContext& careless = client_is_odd ? client : server;
      show(careless, odd, matrix.pool);
      // Whoever shows such a thing does not look at the other's either.
      SSL_CTX_set_verify(careless.native(), SSL_VERIFY_NONE, nullptr);
      const Outcome outcome = meet(server, client);
      const Status& refusing = client_is_odd ? outcome.server : outcome.client;
      CHECK_MESSAGE(says(refusing, one.refusal), refusing.to_string());
      CHECK(refusing.code() == Code::kDenied);
      CHECK_FALSE(outcome.server.ok());
      CHECK_FALSE(outcome.client.ok());
      CHECK_FALSE(outcome.reached);
    }
  }
}

TEST_CASE("the same pool lets in what is right, by the root and by the issuing authority") {
  Matrix matrix;
  const IssuedIdentity nobody = make(Said{}, &matrix.issuing, matrix);
  const PeerPolicy rules = policy(matrix, nobody);
  const IssuedIdentity& issuing = matrix.issuing;
  for (const IssuedIdentity* by : {&matrix.pool.ca(), &issuing}) {
    TlsContext server = load(matrix.pool.server(), TlsContext::Side::kServer, rules);
    TlsContext client = load(matrix.pool.client(), TlsContext::Side::kClient, rules);
    show(client, make(Said{}, by, matrix), matrix.pool);
    show(server, make(a_server(), by, matrix), matrix.pool);
    const Outcome outcome = meet(server, client);
    CHECK_MESSAGE(outcome.server.ok(), outcome.server.to_string());
    CHECK_MESSAGE(outcome.client.ok(), outcome.client.to_string());
    CHECK(outcome.reached);
  }
}

TEST_CASE("a server that takes clients of some zones takes nobody of another, or of none") {
  Matrix matrix;
  const struct {
    const char* zone;
    bool let_in;
  } zones[] = {
      {"/zone/lab", true}, {"/zone/secure/role/trainer", true}, {"/zone/dmz", false}, {"", false}};
  for (const auto& one : zones) {
    CAPTURE(one.zone);
    TlsContext server = load(matrix.pool.server(), TlsContext::Side::kServer,
                             {.deny_list = nullptr, .client_zones = {"lab", "secure"}});
    TlsContext client = load(matrix.pool.client(), TlsContext::Side::kClient);
    Said said;
    said.uri += one.zone;
    show(client, make(said, &matrix.issuing, matrix), matrix.pool);
    const Outcome outcome = meet(server, client);
    CHECK(outcome.reached == one.let_in);
    CHECK(outcome.server.ok() == one.let_in);
    if (!one.let_in) CHECK_MESSAGE(says(outcome.server, "of no zone"), outcome.server.to_string());
  }
}
