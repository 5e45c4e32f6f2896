// Files of the certificate authority: made once, or replaced all at once.
//
//   FARCALL_TRY(write_new_file("ann.key", key, 0600));       // never over another
//   FARCALL_TRY(replace_file("deny.crl", list, 0644));       // readers see the old one or the new
//
// Threads: any.
#pragma once
#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string>

#include "transport/base/status.h"

namespace farcall::security {

// A half-written file is taken away again.  Errors: kDenied when it exists, kSystem.
Status write_new_file(const std::string& path, std::span<const std::byte> bytes, mode_t mode);

// Written beside it, brought to the disk, and renamed.  Errors: kSystem; then the old one is there.
Status replace_file(const std::string& path, std::span<const std::byte> bytes, mode_t mode);

}  // namespace farcall::security
