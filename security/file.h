// Small files that matter, of keys, certificates, tokens and lists: read whole and bounded, never
// written over one that is there, or replaced in one step.
//
//   Result<SecureBuffer> pem = read_file("ann.key");
//   FARCALL_TRY(write_new_file("lease.key", bytes, 0600));
//   FARCALL_TRY(replace_file("revoked.leases", bytes, 0644));
//
// What was written outlives a power cut once the call has returned, and nothing half written stays
// behind.  Threads: any; also several processes that replace one file.
#pragma once
#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "transport/base/secure_arena.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"

namespace farcall::security {

// A key and a chain of certificates in PEM are a few KiB.
inline constexpr std::size_t kPemBytesMax = 64 * 1024;

std::span<const std::byte> bytes_of(std::string_view text);

// A whole small file, wiped when dropped.  Errors: kNotFound, kDenied, kSystem.
Result<SecureBuffer> read_file(const std::string& path, std::size_t bytes_max = kPemBytesMax);
// The same of one that holds no secret.
Result<std::string> read_text(const std::string& path, std::size_t bytes_max = kPemBytesMax);

// Errors: kDenied when something of that name exists, kSystem.
Status write_new_file(const std::string& path, std::span<const std::byte> bytes, mode_t mode);
// Who reads the file sees the old bytes or the new ones.  Errors: kSystem; then the old one is
// there, but where only the folder could not be brought to the disk.
Status replace_file(const std::string& path, std::span<const std::byte> bytes, mode_t mode);

// The steps of these.  `path` of write_all is for the error's text.  Errors: kSystem.
Status write_all(const Fd& file, std::span<const std::byte> bytes, const std::string& path);
// Names that were made or changed in the file's folder outlive a power cut.
Status sync_folder_of(const std::string& path);

}  // namespace farcall::security
