// How it works: the input is what a hostile client could put on the call lane, frames back to back.
// Each frame's header is checked as the session does, its row is looked up and run. The driver
// below reads every input it is given and writes every output, so that a wrong length shows as an
// overrun; families it does not cover are decoded all the same and then have no driver function.
// Two of three handle ids are known, of whatever kind they are asked for.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "tests/transport/api/made_driver.h"
#include "transport/api/rows.h"
#include "transport/wire/frame.h"

using namespace farcall;
using namespace farcall::api;

namespace {

class AnyHandles final : public Handles {
 public:
  void* find(Kind, std::uint64_t id) override {
    return id % 3 == 0 ? nullptr : reinterpret_cast<void*>(id);
  }
  std::uint64_t add(Kind, void* real, std::uint64_t) override {
    return kServerIdBit | reinterpret_cast<std::uintptr_t>(real);
  }
  bool is_taken(std::uint64_t id) override { return id % 5 == 0; }
  bool adopt(Kind, std::uint64_t, void*) override { return true; }
  void drop(Kind, std::uint64_t) override {}
  CUstream thread_stream() override { return nullptr; }
};

const Driver& made_driver() {
  static const Driver driver = [] {
    Driver made;
#define API(ID, F, WHEN, ...) made.F = MadeDriver<row::F::Fn, row::F::W>::call;
#define FARCALL_FAMILY "transport/api/families/occupancy.def"
#include "transport/api/table.inc"
#undef FARCALL_FAMILY
#define API(ID, F, WHEN, ...) made.F = MadeDriver<row::F::Fn, row::F::W>::call;
#define FARCALL_FAMILY "transport/api/families/pool.def"
#include "transport/api/table.inc"
#undef FARCALL_FAMILY
#define API(ID, F, WHEN, ...) made.F = MadeDriver<row::F::Fn, row::F::W>::call;
#define FARCALL_FAMILY "transport/api/families/tensor_map.def"
#include "transport/api/table.inc"
#undef FARCALL_FAMILY
#define API(ID, F, WHEN, ...) made.F = MadeDriver<row::F::Fn, row::F::W>::call;
#define FARCALL_FAMILY "transport/api/families/graph.def"
#include "transport/api/table.inc"
#undef FARCALL_FAMILY
    return made;
  }();
  return driver;
}

void run(const wire::FrameHeader& head, std::span<const std::byte> body) {
  const ServedRow* row = find_row(head.id);
  if (row == nullptr || row->run == nullptr) return;
  // Of exactly the body's size, so that a read past it is seen.
  std::vector<std::byte> exact(body.begin(), body.end());
  static std::vector<std::byte> room(limits::kFrameBodyBytesMax);
  static std::vector<std::byte> arguments(limits::kScratchBytes);
  AnyHandles handles;
  wire::Reader in(exact);
  wire::Writer out(room);
  Scratch scratch(arguments);
  ServerCall call{made_driver(), handles, scratch, in, out};
  // Whatever was answered has a status and fits its frame.
  if (row->run(call) == Verdict::kAnswered && (out.size() < 4 || !out.ok())) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  wire::Reader lane(std::as_bytes(std::span(data, size)));
  while (lane.left() != 0) {
    auto head = lane.get<wire::FrameHeader>();
    if (lane.failed() || !wire::is_valid(head)) return 0;
    std::span<const std::byte> body = lane.bytes(head.body_bytes);
    if (lane.failed()) return 0;
    run(head, body);
  }
  return 0;
}
