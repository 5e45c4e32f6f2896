#include "gpu_server/fact_stream.h"

#include <algorithm>
#include <cstring>

namespace farcall::server {
namespace {

constexpr std::uint32_t kMagic = 0x5443'4146;  // "FACT"
constexpr std::uint8_t kModule = 1;

struct Record {
  std::uint32_t magic;
  std::uint8_t kind;
  std::uint8_t form;
  std::uint8_t loaded;
  std::uint8_t from_cache;
  std::uint64_t bytes;
  std::array<std::byte, 32> sha256;
  std::array<std::uint64_t, 2> zeros;
};
static_assert(sizeof(Record) == limits::kFactBytes);

bool is_sound(const Record& record) {
  return record.magic == kMagic && record.kind == kModule &&
         record.form <= static_cast<std::uint8_t>(ImageFact::kUnreadable) && record.loaded <= 1 &&
         record.from_cache <= 1 && record.zeros[0] == 0 && record.zeros[1] == 0;
}

}  // namespace

std::string_view name_of(ImageFact form) {
  switch (form) {
    case ImageFact::kFatbin: return "fatbin";
    case ImageFact::kElf: return "elf";
    case ImageFact::kPtx: return "ptx";
    case ImageFact::kUnreadable: break;
  }
  return "unreadable";
}

void encode_fact(const ModuleFact& fact, std::span<std::byte, limits::kFactBytes> room) {
  const Record record{.magic = kMagic,
                      .kind = kModule,
                      .form = static_cast<std::uint8_t>(fact.form),
                      .loaded = fact.loaded,
                      .from_cache = fact.from_cache,
                      .bytes = fact.bytes,
                      .sha256 = fact.sha256,
                      .zeros = {}};
  std::memcpy(room.data(), &record, sizeof record);
}

Status FactStream::take(std::span<const std::byte> bytes,
                        FunctionRef<void(const ModuleFact&)> each) {
  while (!is_broken_ && !bytes.empty()) {
    const std::size_t more = std::min(part_.size() - held_, bytes.size());
    std::memcpy(part_.data() + held_, bytes.data(), more);
    bytes = bytes.subspan(more);
    held_ += more;
    if (held_ < part_.size()) break;
    held_ = 0;
    Record record;
    std::memcpy(&record, part_.data(), sizeof record);
    is_broken_ = !is_sound(record);
    if (is_broken_) break;
    each({.form = static_cast<ImageFact>(record.form),
          .loaded = record.loaded != 0,
          .from_cache = record.from_cache != 0,
          .bytes = record.bytes,
          .sha256 = record.sha256});
  }
  return is_broken_ ? Status(Code::kMalformed, "the worker's facts are no records of this build")
                    : ok();
}

}  // namespace farcall::server
