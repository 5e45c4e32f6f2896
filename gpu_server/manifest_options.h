// farcall-server's options of its manifest.
//
//   declare_manifest(app, &options.code);        // nothing there unless one is named
//
// Owner: `to` outlives the parser, which fills it.  Threads: one.
#pragma once
#include <optional>

#include "security/code_integrity.h"

namespace CLI {
class App;
}

namespace farcall::server {

void declare_manifest(CLI::App& app, std::optional<security::CodeOptions>* to);

}  // namespace farcall::server
