#include "security/code_integrity.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "security/crypto.h"
#include "security/identity.h"
#include "security/manifest_file.h"

namespace farcall::security {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;

Status with_path(const std::string& path, const Status& why) {
  if (why.text().find(path) != std::string::npos) return why;
  return Status(why.code(), path + ": " + why.text(), why.detail());
}

// A file that was approved without being listed.
CodeFile unlisted_file(const std::string& path) {
  CodeFile file;
  file.path = path;
  return file;
}

}  // namespace

std::string CodeFinding::text() const {
  switch (kind) {
    case Kind::kChanged:
      return path + " was changed: its SHA-256 is " + to_hex(found) + ", the manifest says " +
             to_hex(expected);
    case Kind::kUnlisted:
      return path + " is loaded and not in the manifest: its SHA-256 is " + to_hex(found);
    case Kind::kGone:
    case Kind::kUnreadable:
    case Kind::kManifest: break;
  }
  return why;
}

CodeIntegrity::CodeIntegrity(const CodeOptions& options, const FileEye& eye)
    : options_(options), eye_(eye), measured_(eye) {}

Result<std::unique_ptr<CodeIntegrity>> CodeIntegrity::open(const CodeOptions& options,
                                                           const FileEye& eye) {
  std::unique_ptr<CodeIntegrity> code(new CodeIntegrity(options, eye));
  *code->sources_.lock() = code->look_at_sources();
  Result<InForcePtr> in_force = code->read();
  if (!in_force.ok()) return in_force.status();
  *code->in_force_.lock() = std::move(in_force).value();
  if (!options.cache.empty()) {
    code->cache_status_ = code->measured_.load(options.cache, boot_id());
  }
  return code;
}

Result<CodeIntegrity::InForcePtr> CodeIntegrity::read() const {
  Result<LeaseKeys> keys = LeaseKeys::load(options_.keys);
  if (!keys.ok()) return keys.status();
  Result<Cosigned> text = load_manifest(options_.manifest);
  if (!text.ok()) return text.status();
  auto in_force = std::make_shared<InForce>();
  Result<Manifest> manifest = verify_manifest(text.value(), keys.value(), options_.signatures);
  if (!manifest.ok()) return with_path(options_.manifest, manifest.status());
  in_force->manifest = std::move(manifest).value();
  in_force->digest = digest_of(text.value());
  struct stat facts {};
  if (options_.approvals.empty() || ::stat(options_.approvals.c_str(), &facts) != 0) {
    return InForcePtr(std::move(in_force));
  }
  Result<std::vector<Cosigned>> approvals = load_approvals(options_.approvals);
  if (!approvals.ok()) return approvals.status();
  for (const Cosigned& each : approvals.value()) {
    Result<Approval> one = verify_approval(each, keys.value(), options_.signatures);
    if (!one.ok()) return with_path(options_.approvals, one.status());
    in_force->approvals.push_back(std::move(one).value());
  }
  return InForcePtr(std::move(in_force));
}

CodeIntegrity::Sources CodeIntegrity::look_at_sources() const {
  Sources sources;
  for (const std::string& path : {options_.manifest, options_.approvals, options_.keys}) {
    struct stat facts {};
    FileState state;
    if (!path.empty() && ::stat(path.c_str(), &facts) == 0) {
      state = {facts.st_dev, facts.st_ino, static_cast<std::uint64_t>(facts.st_size),
               facts.st_mtim.tv_sec * kSecondNs + facts.st_mtim.tv_nsec,
               facts.st_ctim.tv_sec * kSecondNs + facts.st_ctim.tv_nsec};
    }
    sources.seen.push_back(state);
  }
  return sources;
}

Status CodeIntegrity::reload(bool* changed) {
  *changed = false;
  Sources now = look_at_sources();
  if (now == *sources_.lock()) return ok();
  // Before it is read, so that what is written meanwhile is looked at again.
  *sources_.lock() = std::move(now);
  Result<InForcePtr> fresh = read();
  if (!fresh.ok()) return fresh.status();
  *in_force_.lock() = std::move(fresh).value();
  *changed = true;
  return ok();
}

void CodeIntegrity::judge(const InForce& in_force, const CodeFile& file, bool listed,
                          CodeVerdict* verdict) {
  ++verdict->files;
  Result<MeasuredFiles::Found> found = measured_.measure(file);
  const bool only_told = !listed && !options_.refuse_unlisted;
  std::vector<CodeFinding>& findings = only_told ? verdict->unlisted : verdict->findings;
  CodeFinding finding;
  finding.path = file.path;
  if (!found.ok()) {
    const bool gone = found.status().code() == Code::kNotFound;
    finding.kind = gone ? CodeFinding::Kind::kGone : CodeFinding::Kind::kUnreadable;
    finding.why = found.status().text();
    findings.push_back(std::move(finding));
    return;
  }
  verdict->hashed += found->hashed;
  if (listed && found->sha256 == file.sha256) return;
  const std::int64_t now_s = eye_.now_ns() / kSecondNs;
  const auto covers = [&](const Approval& one) {
    return one.covers(file.path, found->sha256, now_s);
  };
  const auto approval = std::find_if(in_force.approvals.begin(), in_force.approvals.end(), covers);
  if (approval != in_force.approvals.end()) {
    verdict->approved.push_back(*approval);
    return;
  }
  finding.kind = listed ? CodeFinding::Kind::kChanged : CodeFinding::Kind::kUnlisted;
  finding.expected = file.sha256;
  finding.found = found->sha256;
  findings.push_back(std::move(finding));
}

CodeVerdict CodeIntegrity::look(std::span<const std::string> loaded) {
  const InForcePtr in_force = *in_force_.lock();
  CodeVerdict verdict;
  const std::int64_t until = in_force->manifest.until;
  if (until != 0 && eye_.now_ns() / kSecondNs >= until) {
    CodeFinding finding;
    finding.kind = CodeFinding::Kind::kManifest;
    finding.path = options_.manifest;
    finding.why = options_.manifest + " was good until " + date_text(until) +
                  ": have a new manifest signed (farcall manifest make)";
    verdict.findings.push_back(std::move(finding));
  }
  for (const CodeFile& file : in_force->manifest.files) judge(*in_force, file, true, &verdict);
  for (const std::string& path : loaded) {
    if (in_force->manifest.find(path) == nullptr) {
      judge(*in_force, unlisted_file(path), false, &verdict);
    }
  }
  verdict.changes = measured_.changes();
  return verdict;
}

Result<Fd> CodeIntegrity::open_measured(const std::string& path) const {
  Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file) return Status::system("open " + path);
  Result<FileState> state = state_of(file.get(), path);
  if (!state.ok()) return state.status();
  if (measured_.is_measured(path, state.value())) return file;
  return Status(Code::kBusy, path + " was changed just now");
}

Status CodeIntegrity::save() {
  if (options_.cache.empty() || !measured_.grew()) return ok();
  return measured_.save(options_.cache, boot_id());
}

FileDigest CodeIntegrity::digest() const { return (*in_force_.lock())->digest; }

Manifest CodeIntegrity::manifest() const { return (*in_force_.lock())->manifest; }

std::size_t CodeIntegrity::approvals() const {
  const InForcePtr in_force = *in_force_.lock();
  const std::int64_t now_s = eye_.now_ns() / kSecondNs;
  return static_cast<std::size_t>(
      std::count_if(in_force->approvals.begin(), in_force->approvals.end(),
                    [now_s](const Approval& one) { return now_s < one.until; }));
}

}  // namespace farcall::security
