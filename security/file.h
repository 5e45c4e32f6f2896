// Writing files of keys and tokens: never over one that is there, or whole in one step.
//
//   FARCALL_TRY(write_new_file("lease.key", bytes, 0600));
//   FARCALL_TRY(replace_file("revoked.leases", bytes, 0644));
//
// Threads: any.  Nothing half written stays behind.
#pragma once
#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string>

#include "transport/base/status.h"

namespace farcall::security {

// Errors: kDenied when something of that name exists, kSystem.
Status write_new_file(const std::string& path, std::span<const std::byte> bytes, mode_t mode);
// Who reads the file sees the old bytes or the new ones, also after a power cut.  Errors: kSystem.
Status replace_file(const std::string& path, std::span<const std::byte> bytes, mode_t mode);

}  // namespace farcall::security
