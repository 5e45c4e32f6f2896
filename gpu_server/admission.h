// Admission: may this client have a session here, what of this server, and until when.
//
//   auto admission = Admission::open({.keys_path = "/etc/farcall/lease-keys"}, machine_time());
//   Result<Admitted> lease = admission.value()->admit({.who = …, .key = …, .token = …});
//   if (!lease.ok()) refuse(lease.status());
//   poll({lease->changed_fd()}, lease->wait_ms());  Status still = lease->state();
//
// With keys, a client needs a lease token that one of them signed (security/lease_token.h): nobody
// has standing access. Nobody else is asked. Without keys every certificate of the pool is let in.
// Once let in, a session ends when its lease does: to the second, on a clock that nobody can set
// (lease_clock.h), or at once when the lease is on the list of revoked ones, a file that a thread
// of this class watches. A newer token of the same lease that any client of its holder shows is
// its newer end for all of its sessions: so a lease is renewed without a dropped call. Older tokens
// of a lease are refused from then on, for as long as this process lives.
// Owner: the supervisor; an Admitted: the thread of its session, and never longer than the
// Admission.  Threads: any.
#pragma once
#include <condition_variable>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "gpu_server/lease_clock.h"
#include "security/identity.h"
#include "security/lease_file.h"
#include "security/lease_keys.h"
#include "security/lease_token.h"
#include "transport/base/guarded.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::server {

class Admission;

// A session's place in its lease; given back when it goes.
class Admitted {
 public:
  Admitted(Admitted&& other) noexcept;
  Admitted& operator=(Admitted&&) = delete;
  ~Admitted();

  // Null where no lease is asked for.
  const security::LeaseToken* token() const { return token_ ? &*token_ : nullptr; }
  // What names the lease: its id, or without one the client's identity.
  const std::string& name() const { return name_; }

  // ok while the session may go on.  Errors: kDenied: the lease has expired, or was revoked.
  Status state() const;
  // Readable when state() may have changed before wait_ms() have passed; -1: it never will.
  int changed_fd() const { return changed_.get(); }
  // Until state() is to be asked again, rounded up; -1: never.
  int wait_ms() const;
  // After changed_fd() was readable.
  void take_change() const;

 private:
  friend class Admission;
  Admitted() = default;
  Admission* admission_ = nullptr;  // null where no lease is asked for, or moved from
  std::optional<security::LeaseToken> token_;
  std::string name_;
  Fd changed_;  // eventfd
};

class Admission {
 public:
  struct Options {
    std::string keys_path{};     // a file or a folder; empty: no lease is asked for
    std::string revoked_path{};  // the list of revoked leases; empty: there is none
    // For a place in a lease whose sessions are all in use.
    int place_wait_ms = limits::kLeasePlaceWaitMs;
  };
  // Who asks, and with what.
  struct Applicant {
    const security::PeerIdentity& who;     // proven by its certificate
    const security::KeyHash& key;          // of that certificate
    const security::PeerIdentity& server;  // this one's own
    std::span<const std::byte> token;      // as it came; hostile
  };

  // Errors: those of LeaseKeys::load and load_revoked; kSystem; kUnsupported (a list without keys).
  static Result<std::unique_ptr<Admission>> open(const Options& options, const TimeSource& time);
  ~Admission();

  bool demands_lease() const { return !options_.keys_path.empty(); }

  // Waits a little where all sessions of the lease are in use.
  // Errors, each with its cause and what to do: kDenied (no token, one that is not good here and
  // now, revoked, an older one than was seen), kMalformed, kBusy (used up), kOverQuota (more leases
  // than a server remembers).
  Result<Admitted> admit(const Applicant& applicant);

  // Reads keys and list again: SIGHUP. Leases of keys that are gone end.
  // Errors: as open; then nothing has changed.
  Status reload();

 private:
  friend class Admitted;
  using Keys = std::shared_ptr<const security::LeaseKeys>;  // a check may outlive a reload
  // What is known of a lease, until it has expired and has no sessions any more.
  struct Known {
    security::LeaseBytes token;  // the newest
    security::LeaseKeyId key_id{};
    std::uint32_t serial = 0;
    std::uint16_t sessions_max = 0;
    std::int64_t expires_s = 0;
    std::int64_t end_ns = 0;  // monotonic
    bool is_revoked = false;
    std::vector<int> sessions;  // their changed_, borrowed
  };
  using Leases = std::map<security::LeaseId, Known>;

  Admission(Options options, const TimeSource& time);
  void check_clock();
  static void end(Known& known);
  // The lease's entry, brought up to date with a token that is good.
  Result<Known*> note(Leases& leases, const security::LeaseToken& token,
                      std::span<const std::byte> bytes);
  Result<Admitted> seat(const security::LeaseToken& token, std::span<const std::byte> bytes);
  // Errors: kDenied when the lease is on the list, or its key is not known any more.
  Status still_believed(const security::LeaseToken& token) const;
  void forget_expired(Leases& leases);
  Status load_list(const security::LeaseKeys& keys);
  void watch();
  void leave(const security::LeaseId& id, int changed);

  const Options options_;
  const LeaseClock clock_;
  mutable Guarded<Keys> keys_;
  mutable Guarded<security::RevokedLeases> revoked_;
  Guarded<Leases> leases_;
  std::condition_variable left_;  // a session has left its lease; with leases_
  Fd stop_;                       // eventfd
  std::thread watcher_;
};

// What CUDA_VISIBLE_DEVICES a worker gets, so that its driver shows the leased devices only.
//   own     the server's own value, which the numbers of a lease count in; null: none
//   leased  not empty
// Errors: kDenied when the lease names a device that this server does not offer.
Result<std::string> visible_devices(const char* own, const std::vector<std::string>& leased);

}  // namespace farcall::server
