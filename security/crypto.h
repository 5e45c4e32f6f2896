// The few cryptographic helpers that more than one file needs, and how OpenSSL is started.
//
//   init_crypto();                                   // before the first OpenSSL call of a file
//   FARCALL_TRY(hkdf_expand(key, "farcall rekey", next));
//
// Threads: any.  OpenSSL is started without its configuration file (which could load engines from
// anywhere) and without an atexit handler (the shim answers calls after one would have run).
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "transport/base/status.h"

namespace farcall::security {

void init_crypto();

// "reason (library)" of the oldest queued OpenSSL error; empties this thread's queue.
std::string take_crypto_error();

// RFC 5869 with SHA-256. secret: a uniformly random key, so that no extraction is needed.
Status hkdf_expand(std::span<const std::byte> secret, std::string_view info,
                   std::span<std::byte> out);

// Random bytes from the kernel; never fails short.
void fill_random(std::span<std::byte> out);

std::string to_hex(std::span<const std::byte> bytes);

}  // namespace farcall::security
