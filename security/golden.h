// GoldenSet: which PCR values machines of a pool may have, by class of machine.
//
//   Result<GoldenSet> set = load_golden("ca/golden.toml");
//   FARCALL_TRY(judge(set.value(), "gpu7", quote));      // "PCR 8 is 1a2b…, expected 3c4d…"
//
// A TOML file, made by `farcall attest golden` from a machine that is known to be good, edited and
// reviewed by people:
//   [[class]]
//   name = "dl380"                    # for error texts
//   servers = ["gpu1", "gpu2"]        # host names as in their certificates; "*": all others
//   manifest = ["9f86…"]              # SHA-256 of manifests of binaries that may run; left out:
//   any [class.pcr] 0 = ["3d45…"]                     # each PCR named must have one of its values;
//   others may have 7 = ["65ca…", "b5fe…"]            # any
// Owner: plain values.  Threads: any.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "security/quote.h"
#include "transport/base/status.h"

namespace farcall::security {

struct GoldenClass {
  std::string name;
  std::vector<std::string> servers;  // host names, or "*"
  std::vector<Sha256> manifests;     // empty: any, and none
  std::map<std::size_t, std::vector<Sha256>> pcrs;
  bool operator==(const GoldenClass&) const = default;
};

struct GoldenSet {
  std::vector<GoldenClass> classes;
  bool operator==(const GoldenSet&) const = default;
};

// name: of the file, for error texts.  Errors: kUnsupported with the line.
Result<GoldenSet> parse_golden(std::string_view text, const std::string& name);
// Errors: also kNotFound, kSystem.
Result<GoldenSet> load_golden(const std::string& path);
// A file with this one class.
std::string golden_text(const GoldenClass& one);

// Has that server booted as it may? The quote must have been checked.
// Errors: kDenied with each PCR that differs, what it is and what was expected.
Status judge(const GoldenSet& set, const std::string& host, const Quote& quote);

// 64 hexadecimal digits.
Result<Sha256> parse_sha256(std::string_view text);

}  // namespace farcall::security
