// What belongs into a manifest of this machine: the programs of a GPU server, and what they load.
//
//   ManifestParts parts{.server = "/usr/bin/farcall-server", .worker = …, .driver =
//   "libcuda.so.1"}; Result<security::Manifest> manifest = manifest_of(parts, &notes);
//
// Taken from the dynamic loader (what it would load) and from a worker that is started for it and
// says what the kernel has mapped in it: so with the environment of this process, which should be
// the server's (LD_LIBRARY_PATH).  Threads: one.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "security/manifest.h"
#include "transport/base/status.h"

namespace farcall::cli {

struct ManifestParts {
  std::string server;
  std::string worker;
  std::string driver;
  // Further files, or folders of which every file is taken, with their roles.
  std::vector<std::pair<security::CodeRole, std::string>> more;
};

// notes: what the person who signs it should know, a line each.
// Errors: kNotFound, kDenied, kSystem.
Result<security::Manifest> manifest_of(const ManifestParts& parts, std::vector<std::string>* notes);

// An entry as the file is now; path: as the kernel would name it.  Errors: as FileEye has them.
Result<security::CodeFile> code_file_of(const std::string& path, security::CodeRole role);

}  // namespace farcall::cli
