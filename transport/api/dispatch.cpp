#include "transport/api/dispatch.h"

#include <array>

#include "transport/api/families.h"
#include "transport/api/server_call.h"

namespace farcall::api {
namespace {

// Two steps, family and then row: 256 pointers for each family that exists.
struct Index {
  std::array<std::span<const ServedRow>, 256> families;
  std::array<std::array<const ServedRow*, 256>, std::size(kFamilies)> rows{};
  std::array<std::uint8_t, 256> slot;
  std::uint64_t fingerprint = kFingerprintStart;

  Index() {
    slot.fill(0xff);
    std::uint8_t next = 0;
    for (auto* family_of : kFamilies) {
      FamilyRows family = family_of();
      families[family.family] = family.rows;
      slot[family.family] = next;
      for (const ServedRow& row : family.rows) rows[next][row.info.id & 0xff] = &row;
      fingerprint = mix(fingerprint, family.fingerprint);
      ++next;
    }
  }
};

// Leaked on purpose: the client asks during exit, after static destructors.
const Index& index() {
  static const Index& made = *new Index;
  return made;
}

}  // namespace

const ServedRow* find_row(std::uint16_t id) {
  std::uint8_t slot = index().slot[id >> 8];
  return slot == 0xff ? nullptr : index().rows[slot][id & 0xff];
}

std::span<const ServedRow> family_rows(std::uint8_t family) { return index().families[family]; }

std::uint64_t table_fingerprint() { return index().fingerprint; }

Verdict answer_status(ServerCall& call, CUresult status) {
  call.out.rewind(0);
  call.out.put(static_cast<std::uint32_t>(status));
  return Verdict::kAnswered;
}

Verdict finish_answer(ServerCall& call, const Answer& answer) {
  if (answer.full) return answer_status(call, CUDA_ERROR_OUT_OF_MEMORY);
  // The limits let every answer fit; if one does not, the call has happened, and saying so is all
  // that can be done.
  if (!call.out.ok()) return answer_status(call, CUDA_ERROR_UNKNOWN);
  return Verdict::kAnswered;
}

}  // namespace farcall::api
