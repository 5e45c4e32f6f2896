// Files of manifests and approvals: PEM around the signed bytes, as leases have it.
//
//   Result<Cosigned> text = load_manifest("gpu1.manifest");
//   Result<FileDigest> digest = digest_of_manifest("gpu1.manifest");   // what a TPM quote binds
//   Result<std::vector<Cosigned>> exceptions = load_approvals("gpu1.approvals");
//
// A file has one manifest, or any number of approvals, which cat can join. Signatures are not
// looked at here: verify_manifest(), verify_approval().  Threads: any.
#pragma once
#include <string>
#include <vector>

#include "security/manifest.h"
#include "transport/base/status.h"

namespace farcall::security {

// Errors: kNotFound, kDenied (no manifest in it, or more than one), kMalformed.
Result<Cosigned> load_manifest(const std::string& path);
// Replaces the file in one step.  Errors: kSystem.
Status save_manifest(const Cosigned& text, const std::string& path);
// Errors: those of load_manifest.
Result<FileDigest> digest_of_manifest(const std::string& path);

// Errors: kNotFound, kDenied (none in it), kMalformed, kOverQuota (more than
// limits::kApprovalsMax).
Result<std::vector<Cosigned>> load_approvals(const std::string& path);
// Errors: kSystem, kOverQuota.
Status save_approvals(const std::vector<Cosigned>& all, const std::string& path);

}  // namespace farcall::security
