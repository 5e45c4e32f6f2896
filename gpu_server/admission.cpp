#include "gpu_server/admission.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "gpu_server/watched_files.h"
#include "transport/base/log.h"

namespace farcall::server {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;
// A wall clock that was set back by more than time servers correct is worth a line.
constexpr std::int64_t kSetBackNs = 5 * kSecondNs;
// A session asks again at the latest so often, should the machine have slept meanwhile.
constexpr std::int64_t kAskAgainNs = 60 * kSecondNs;

LogLimit g_clock_log(1);

const Status kRevoked(Code::kDenied,
                      "the lease was taken back by its issuer; ask there for a new one");

Status expired(std::int64_t expires_s) {
  return {Code::kDenied,
          "the lease has expired at " + security::time_text(expires_s) + "; ask for a new one"};
}

void wake(int event_fd) {
  const std::uint64_t one = 1;
  (void)!::write(event_fd, &one, sizeof one);
}

}  // namespace

// --- Admitted ------------------------------------------------------------------------------------

Admitted::Admitted(Admitted&& other) noexcept
    : admission_(std::exchange(other.admission_, nullptr)),
      token_(std::move(other.token_)),
      name_(std::move(other.name_)),
      changed_(std::move(other.changed_)) {}

Admitted::~Admitted() {
  if (admission_ != nullptr) admission_->leave(token_->id, changed_.get());
}

Status Admitted::state() const {
  if (admission_ == nullptr) return ok();
  auto leases = admission_->leases_.lock();
  const auto at = leases->find(token_->id);
  if (at == leases->end()) return expired(token_->expires);
  if (at->second.is_revoked) return kRevoked;
  if (admission_->clock_.monotonic_ns() < at->second.end_ns) return ok();
  return expired(at->second.expires_s);
}

int Admitted::wait_ms() const {
  if (admission_ == nullptr) return -1;
  auto leases = admission_->leases_.lock();
  const auto at = leases->find(token_->id);
  if (at == leases->end() || at->second.is_revoked) return 0;
  const std::int64_t left_ns = at->second.end_ns - admission_->clock_.monotonic_ns();
  if (left_ns <= 0) return 0;
  return static_cast<int>((std::min(left_ns, kAskAgainNs) + 999'999) / 1'000'000);
}

void Admitted::take_change() const {
  std::uint64_t count = 0;
  (void)!::read(changed_.get(), &count, sizeof count);
}

// --- Admission -----------------------------------------------------------------------------------

Admission::Admission(Options options, const TimeSource& time)
    : options_(std::move(options)), clock_(time) {}

Result<std::unique_ptr<Admission>> Admission::open(const Options& options, const TimeSource& time) {
  std::unique_ptr<Admission> admission(new Admission(options, time));
  if (!admission->demands_lease()) {
    if (options.revoked_path.empty()) return admission;
    return Status(Code::kUnsupported, "a list of revoked leases needs --lease-keys, too");
  }
  if (Status loaded = admission->reload(); !loaded.ok()) return loaded;
  if (options.revoked_path.empty()) return admission;
  admission->stop_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!admission->stop_) return Status::system("make an eventfd");
  admission->watcher_ = std::thread([raw = admission.get()] { raw->watch(); });
  return admission;
}

Admission::~Admission() {
  if (stop_) wake(stop_.get());
  if (watcher_.joinable()) watcher_.join();
}

Status Admission::reload() {
  if (!demands_lease()) return ok();
  Result<security::LeaseKeys> loaded = security::LeaseKeys::load(options_.keys_path);
  if (!loaded.ok()) return loaded.status();
  auto keys = std::make_shared<const security::LeaseKeys>(std::move(loaded).value());
  if (!options_.revoked_path.empty()) FARCALL_TRY(load_list(*keys));
  *keys_.lock() = keys;
  auto leases = leases_.lock();
  for (auto& [id, known] : *leases) {
    if (!keys->knows(known.key_id)) end(known);
  }
  return ok();
}

void Admission::end(Known& known) {
  known.is_revoked = true;
  for (int session : known.sessions) wake(session);
}

Status Admission::load_list(const security::LeaseKeys& keys) {
  Result<security::RevokedLeases> list = security::load_revoked(options_.revoked_path, keys);
  if (!list.ok()) return list.status();
  {
    auto now = revoked_.lock();
    if (list->number < now->number) {
      return {Code::kDenied, options_.revoked_path + " is list " + std::to_string(list->number) +
                                 ", and list " + std::to_string(now->number) +
                                 " was seen already; somebody has put an old one in its place"};
    }
    *now = list.value();
  }
  std::size_t ended = 0;
  auto leases = leases_.lock();
  for (auto& [id, known] : *leases) {
    if (known.is_revoked || !list->holds(id)) continue;
    ended += known.sessions.size();
    end(known);
  }
  if (ended != 0) FARCALL_LOG_WARN("leases were revoked: %zu sessions end", ended);
  return ok();
}

void Admission::watch() {
  WatchedFiles files({options_.revoked_path});
  bool is_due = true;  // it may have changed since it was first read
  bool is_told = false;
  for (;;) {
    pollfd wait[] = {{.fd = stop_.get(), .events = POLLIN, .revents = 0},
                     {.fd = files.fd(), .events = POLLIN, .revents = 0}};
    (void)::poll(wait, 2, files.look_ms());
    if (wait[0].revents != 0) return;
    if (files.changed().empty() && !is_due) continue;
    const Keys keys = *keys_.lock();
    const Status loaded = load_list(*keys);
    // One that cannot be read now may be whole the next time: it is looked at until it is.
    is_due = !loaded.ok();
    if (loaded.ok()) {
      FARCALL_LOG_INFO("%s: list %u of revoked leases", options_.revoked_path.c_str(),
                       revoked_.lock()->number);
    } else if (!std::exchange(is_told, true)) {
      FARCALL_LOG_ERROR("%s; the former list stays in force", loaded.text().c_str());
    }
    if (loaded.ok()) is_told = false;
  }
}

void Admission::check_clock() {
  const std::int64_t back_ns = clock_.set_back_ns();
  if (back_ns < kSetBackNs || !g_clock_log.allow()) return;
  FARCALL_LOG_WARN(
      "the clock was set back by %lld s since this server started; leases are checked as if it "
      "had not been: restart the server should the new time be the right one",
      static_cast<long long>(back_ns / kSecondNs));
}

Result<Admitted> Admission::admit(const Applicant& applicant) {
  if (!demands_lease()) {
    Admitted anyone;
    anyone.name_ = "tenant " + applicant.who.tenant + ", user " + applicant.who.user;
    return anyone;
  }
  if (applicant.token.empty()) {
    return Status(Code::kDenied,
                  "this server lets nobody in without a lease: bring one with --lease FILE or "
                  "FARCALL_LEASE; the pool's administrator issues it (farcall lease issue)");
  }
  check_clock();
  const Keys keys = *keys_.lock();
  Result<security::LeaseToken> token = security::verify_lease(applicant.token, *keys);
  if (!token.ok()) {
    return Status(token.status().code(), "the lease is not accepted: " + token.status().text());
  }
  // Before it is seated, which may wait, and after: who changes list or keys meanwhile ends those
  // that are seated already, and no others.
  FARCALL_TRY(still_believed(token.value()));
  FARCALL_TRY(security::check_use(token.value(), {.who = applicant.who,
                                                  .key = applicant.key,
                                                  .pool = applicant.server.pool,
                                                  .server = applicant.server.host,
                                                  .zone = applicant.server.zone,
                                                  .now_s = clock_.now_ns() / kSecondNs}));
  Result<Admitted> admitted = seat(token.value(), applicant.token);
  FARCALL_TRY(still_believed(token.value()));
  return admitted;
}

Status Admission::still_believed(const security::LeaseToken& token) const {
  if (revoked_.lock()->holds(token.id)) return kRevoked;
  if ((*keys_.lock())->knows(token.key_id)) return ok();
  return {Code::kDenied, "the key that signed the lease was taken from this server just now"};
}

Result<Admission::Known*> Admission::note(Leases& leases, const security::LeaseToken& token,
                                          std::span<const std::byte> bytes) {
  auto at = leases.find(token.id);
  if (at == leases.end()) {
    forget_expired(leases);
    if (leases.size() >= limits::kLeasesKnownMax) {
      return Status(Code::kOverQuota, "this server knows of " + std::to_string(leases.size()) +
                                          " leases that have not expired, and takes no more");
    }
    at = leases.emplace(token.id, Known{}).first;
  }
  Known& known = at->second;
  if (token.serial < known.serial) {
    return Status(Code::kDenied, "a newer token of this lease was shown (serial " +
                                     std::to_string(known.serial) + ", this is " +
                                     std::to_string(token.serial) + "); use that one");
  }
  if (token.serial == known.serial) {
    if (std::equal(bytes.begin(), bytes.end(), known.token.begin(), known.token.end())) {
      return &known;
    }
    return Status(Code::kDenied,
                  "another token of this lease with the same serial was shown; its issuer must "
                  "count up when it renews");
  }
  known.token.assign(bytes.begin(), bytes.end());
  known.serial = token.serial;
  known.key_id = token.key_id;
  known.sessions_max = token.sessions;
  known.expires_s = token.expires;
  known.end_ns = clock_.monotonic_ns() + (token.expires * kSecondNs - clock_.now_ns());
  for (int session : known.sessions) wake(session);
  return &known;
}

Result<Admitted> Admission::seat(const security::LeaseToken& token,
                                 std::span<const std::byte> bytes) {
  Admitted admitted;
  admitted.changed_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!admitted.changed_) return Status::system("make an eventfd");
  admitted.token_ = token;
  admitted.name_ = "lease " + security::to_string(token.id);
  auto leases = leases_.lock();
  Result<Known*> known = note(*leases, token, bytes);
  if (!known.ok()) return known.status();
  const auto has_room = [&token](Leases& now) {
    const auto at = now.find(token.id);
    return at == now.end() || at->second.sessions.size() < at->second.sessions_max;
  };
  const bool roomy = leases.wait_for(left_, options_.place_wait_ms, has_room);
  const auto at = leases->find(token.id);
  if (at == leases->end()) return expired(token.expires);
  if (!roomy) {
    return Status(Code::kBusy, "all " + std::to_string(at->second.sessions_max) +
                                   " sessions of the lease are in use; end a program that uses "
                                   "it, or ask for a lease of more");
  }
  at->second.sessions.push_back(admitted.changed_.get());
  admitted.admission_ = this;
  return admitted;
}

void Admission::forget_expired(Leases& leases) {
  const std::int64_t now_ns = clock_.monotonic_ns();
  std::erase_if(leases, [now_ns](const auto& entry) {
    return entry.second.sessions.empty() && entry.second.end_ns <= now_ns;
  });
}

void Admission::leave(const security::LeaseId& id, int changed) {
  {
    auto leases = leases_.lock();
    const auto at = leases->find(id);
    if (at != leases->end()) std::erase(at->second.sessions, changed);
  }
  left_.notify_all();
}

// --- devices -------------------------------------------------------------------------------------

Result<std::string> visible_devices(const char* own, const std::vector<std::string>& leased) {
  std::vector<std::string> offered;
  if (own != nullptr) {
    std::string_view left(own);
    for (std::size_t end = 0; end != std::string_view::npos;) {
      end = left.find(',');
      offered.emplace_back(left.substr(0, end));
      if (end != std::string_view::npos) left.remove_prefix(end + 1);
    }
  }
  std::string visible;
  for (const std::string& device : leased) {
    std::string name = device;
    unsigned number = 0;
    const auto parsed = std::from_chars(device.data(), device.data() + device.size(), number);
    const bool is_number = parsed.ec == std::errc() && parsed.ptr == device.data() + device.size();
    bool is_there = own == nullptr;
    if (own != nullptr && is_number && number < offered.size()) {
      name = offered[number];
      is_there = true;
    } else if (own != nullptr && !is_number) {
      is_there = std::find(offered.begin(), offered.end(), device) != offered.end();
    }
    if (!is_there) {
      return Status(Code::kDenied, "the lease names device " + device +
                                       ", which is not among those this server offers (" + own +
                                       "); ask for a lease of those");
    }
    visible += (visible.empty() ? "" : ",") + name;
  }
  return visible;
}

}  // namespace farcall::server
