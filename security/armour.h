// PEM around bytes of our own: leases, lists, manifests, approvals.
//
//   Result<std::string> text = armoured("FARCALL LEASE", bytes);
//   Result<ArmourReader> file = ArmourReader::open(path, "FARCALL LEASE");
//   while (file->next(&bytes)) …
//
// A file of several is made with cat. Blocks of other labels, and with PEM's own headers, are left
// out.  Owner: values, move-only.  Threads: one.
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "security/file.h"
#include "transport/base/status.h"

struct bio_st;

namespace farcall::security {

// label: an upper-case name.  Errors: kSystem.
Result<std::string> armoured(const char* label, std::span<const std::byte> bytes);

class ArmourReader {
 public:
  // Errors: kNotFound, kDenied, kSystem: those of read_file.
  static Result<ArmourReader> open(const std::string& path, const char* label,
                                   std::size_t bytes_max = kPemBytesMax);
  // False when there is no further block of the label.
  bool next(std::vector<std::byte>* bytes);

 private:
  struct Free {
    void operator()(bio_st* bio) const;
  };
  using Text = std::unique_ptr<bio_st, Free>;
  ArmourReader(Text text, const char* label) : text_(std::move(text)), label_(label) {}
  Text text_;
  const char* label_;
};

}  // namespace farcall::security
