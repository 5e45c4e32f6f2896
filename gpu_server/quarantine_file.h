// Cases of quarantine in a file, so that a server that starts again still refuses who is in one.
//
//   FARCALL_TRY(save_cases("/var/lib/farcall/audit/quarantine.json", cases));
//   Result<std::vector<QuarantineCase>> cases = load_cases(path);
//
// Only cases that stand are kept: names and numbers, no calls and no payload. JSON, mode 0600,
// replaced in one step. Whoever can write there can let somebody in, or lock somebody out: it lies
// where the audit log does. Owner: quarantine.h.  Threads: any; one writes at a time.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "gpu_server/quarantine.h"
#include "transport/base/status.h"

namespace farcall::server {

// Those of `cases` whose client is refused.
std::string cases_text(const std::vector<QuarantineCase>& cases);
// All of them ended: their sessions are no more.  Errors: kDenied with what is wrong.
Result<std::vector<QuarantineCase>> cases_in(std::string_view text);

// Errors: kSystem.
Status save_cases(const std::string& path, const std::vector<QuarantineCase>& cases);
// None where there is no file.  Errors: kDenied with the path and what to do, kSystem.
Result<std::vector<QuarantineCase>> load_cases(const std::string& path);

}  // namespace farcall::server
