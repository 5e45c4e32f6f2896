// How it works: the input is tried as a signed manifest or approval with its signatures unseen,
// since no fuzzer can sign, and as a table of measured files with its seal unseen. What parses must
// encode to the same bytes, must not be believed, and is believed once it is signed.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "security/manifest.h"
#include "security/measured_files.h"
#include "tests/fuzz/signer.h"

using namespace farcall;
using namespace farcall::security;
using fuzz::new_key;
using fuzz::require;

namespace {

constexpr std::string_view kBoot = "boot";

void manifest(const Cosigned& text, const LeaseKey& key, const LeaseKeys& keys) {
  Result<Manifest> read = read_manifest(text.body);
  if (!read.ok()) return;
  require(encode(read.value()).value() == text.body);
  for (const CodeFile& file : read->files) require(*read->find(file.path) == file);
  Cosigned own{.body = text.body, .signatures = {}};
  require(cosign(kManifestLabel, key, &own).ok());
  require(verify_manifest(own, keys, 1).value() == read.value());
  require(!verify_approval(own, keys, 1).ok());
}

void approval(const Cosigned& text, const LeaseKey& key, const LeaseKeys& keys) {
  Result<Approval> read = read_approval(text.body);
  if (!read.ok()) return;
  require(encode(read.value()).value() == text.body);
  Cosigned own{.body = text.body, .signatures = {}};
  require(cosign(kApprovalLabel, key, &own).ok());
  require(verify_approval(own, keys, 1).value() == read.value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const LeaseKey key = new_key();
  static const LeaseKeys keys = std::move(key.own()).value();
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  if (Result<Cosigned> text = read_cosigned(bytes); text.ok()) {
    const std::vector<std::byte> again = encode(text.value());
    require(again.size() == bytes.size() && std::equal(again.begin(), again.end(), bytes.begin()));
    require(!verify_manifest(text.value(), keys, 1).ok());
    manifest(text.value(), key, keys);
    approval(text.value(), key, keys);
  }
  if (Result<MeasuredByPath> files = read_measured(bytes, kBoot); files.ok()) {
    const std::vector<std::byte> again = encode(files.value(), kBoot);
    require(again.size() == bytes.size() && std::equal(again.begin(), again.end(), bytes.begin()));
  }
  return 0;
}
