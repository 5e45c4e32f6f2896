// Policies in TOML: read whole, and every mistake told with file and line.
//
//   Result<toml::table> table = load_toml("golden.toml", limits::kGoldenBytesMax);
//   if (!text) return wrong_toml(node, "a name stands in quotes");     // "golden.toml line 3: a
//   name …"
//
// The library's own texts and exceptions stay in here.  Threads: any; values.
#pragma once
#include <toml++/toml.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "transport/base/status.h"

namespace farcall::security {

// name: of the file, for errors.  Errors: kUnsupported with the line.
Result<toml::table> parse_toml(std::string_view text, const std::string& name);
// May be empty.  Errors: as parse_toml, kUnsupported (longer than bytes_max), kNotFound, kSystem.
Result<toml::table> load_toml(const std::string& path, std::size_t bytes_max);

// at: a node of a table of parse_toml().
Status wrong_toml(const toml::node& at, const std::string& what);

}  // namespace farcall::security
