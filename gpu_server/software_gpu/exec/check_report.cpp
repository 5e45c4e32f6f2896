#include "gpu_server/software_gpu/exec/check_report.h"

#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "gpu_server/software_gpu/exec/checker.h"
#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {
namespace {

using Mistake = Checker::Mistake;

template <class... A>
std::string format(const char* text, A... values) {
  char room[512];
  std::snprintf(room, sizeof room, text, values...);
  return room;
}

// The function whose checked code holds the instruction, or null.
const FunctionBody* function_of(const Warp& w, const Ins* i) {
  const LaunchState& launch = *w.worker->launch;
  for (const auto& function : launch.kernel->functions) {
    const Ins* const first = function->checked(launch.isa);
    if (i >= first && i < first + function->code.size()) return function.get();
  }
  return nullptr;
}

// "PTX line 31 (vadd.cu:14)", with the function where that is not the kernel itself.
std::string place_in_text(const Warp& w, const Ins* i) {
  std::string place = "PTX line " + std::to_string(i->line);
  const FunctionBody* const function = function_of(w, i);
  if (function == nullptr) return place;
  const std::string source = source_of(*function->text, i->line);
  if (!source.empty()) place += " (" + source + ")";
  if (function->index != 0) place += " of " + readable_name(function->name);
  return place;
}

std::string thread_text(const Warp& w, unsigned thread) {
  const unsigned* const n = w.worker->launch->block;
  return format("(%u,%u,%u)", thread % n[0], thread / n[0] % n[1], thread / n[0] / n[1]);
}

// The first lines of every report: which kernel, where in it, which thread.
Finding begin(const Warp& w, const Ins* i, int lane, std::string what) {
  Finding finding;
  finding.what = std::move(what);
  finding.kernel = w.worker->launch->kernel->name;
  finding.lines.push_back("in " + readable_name(finding.kernel) + ", " + place_in_text(w, i));
  const unsigned* const b = w.block->ctaid;
  finding.lines.push_back("by thread " +
                          thread_text(w, w.index * kLanes + static_cast<unsigned>(lane)) +
                          format(" of block (%u,%u,%u)", b[0], b[1], b[2]));
  return finding;
}

std::string range_text(const Watch::Range& range) {
  return format("the %" PRIu64 " bytes at 0x%" PRIx64, range.bytes, range.base);
}

// "0x7f…: 4 bytes behind the 1024 bytes at 0x7f…"
std::string place_of_address(const Warp& w, std::uint64_t address, std::uint64_t bytes) {
  const std::string where = format("0x%" PRIx64, address);
  const auto [before, behind, freed] = w.block->check->checker->watch().around(address);
  if (before && address - before->base < before->bytes) {
    const std::uint64_t at = address - before->base;
    return where + (at + bytes > before->bytes ? ": across the end of " : ": inside ") +
           range_text(*before);
  }
  if (freed) return where + ": inside " + range_text(*freed) + ", which were freed";
  if (address < 4096) return where + ": a null pointer";
  const std::uint64_t past = before ? address - before->base - before->bytes : UINT64_MAX;
  const std::uint64_t ahead = behind ? behind->base - address : UINT64_MAX;
  if (past == UINT64_MAX && ahead == UINT64_MAX) return where + ": nothing is allocated";
  if (past <= ahead) {
    return where + format(": %" PRIu64 " bytes behind ", past) + range_text(*before);
  }
  return where + format(": %" PRIu64 " bytes before ", ahead) + range_text(*behind);
}

// The operation of a checked instruction; kNop when it cannot be told.
Op op_of(const Warp& w, const Ins* i) {
  const FunctionBody* const function = function_of(w, i);
  if (function == nullptr) return Op::kNop;
  const Ins* const first = function->checked(w.worker->launch->isa);
  return static_cast<Op>(function->keys[static_cast<std::size_t>(i - first)] >> 16);
}

bool is_access(Op op) {
  return op == Op::kLoad || op == Op::kStore || op == Op::kAtom || op == Op::kCopyAsync;
}

const char* memory_name(Space space) {
  switch (space) {
    case Space::kShared: return "shared memory";
    case Space::kLocal: return "local memory";
    case Space::kParam: return "parameters";
    default: return "global memory";
  }
}

}  // namespace

void report_fault(Warp& w, const Ins* i, int lane, std::uint64_t address, const char* what) {
  Checker& checker = *w.block->check->checker;
  if (!checker.options().memory || !checker.is_new(Mistake::kFault, i)) return;
  const Op op = op_of(w, i);
  if (!is_access(op)) {
    Finding finding = begin(w, i, lane, std::string("fault: thread ") + what);
    if (address != 0) finding.lines.push_back(format("0x%" PRIx64, address));
    return checker.report(finding);
  }
  const std::uint64_t bytes = std::uint64_t{1} << i->size_log2;
  const char* const act = op == Op::kLoad ? "read" : op == Op::kAtom ? "atomic access" : "write";
  const bool misaligned = address % bytes != 0;
  Finding finding =
      begin(w, i, lane,
            format("%s %s of %" PRIu64 " bytes, %s", misaligned ? "misaligned" : "invalid", act,
                   bytes, memory_name(i->space)));
  if (i->space == Space::kGlobal || i->space == Space::kGeneric) {
    finding.lines.push_back("at " + place_of_address(w, address, bytes));
  } else {
    const std::uint32_t window = i->space == Space::kShared  ? w.shared_bytes
                                 : i->space == Space::kLocal ? w.local_stride
                                                             : w.param_bytes;
    finding.lines.push_back(
        format("at offset 0x%" PRIx64 " of %u bytes", address & 0xffffffffu, window));
  }
  checker.report(finding);
}

void report_unwritten(Warp& w, const Ins* i, int lane, std::uint64_t at, std::uint64_t bytes) {
  Checker& checker = *w.block->check->checker;
  if (!checker.is_new(Mistake::kUnwritten, i)) return;
  const std::uint64_t shared = at - reinterpret_cast<std::uint64_t>(w.shared);
  const std::uint64_t local = at - reinterpret_cast<std::uint64_t>(w.block->local.get());
  const bool in_shared = shared < w.shared_bytes;
  const bool in_local = !in_shared && local < w.block->check->local.size();
  Finding finding = begin(w, i, lane,
                          format("read of %" PRIu64 " bytes that nobody wrote, ", bytes) +
                              memory_name(in_shared  ? Space::kShared
                                          : in_local ? Space::kLocal
                                                     : Space::kGlobal));
  if (in_shared) {
    finding.lines.push_back(format("at offset 0x%" PRIx64 " of %u bytes", shared, w.shared_bytes));
  } else if (in_local) {
    finding.lines.push_back(
        format("at offset 0x%" PRIx64 " of %u bytes", local % w.local_stride, w.local_stride));
  } else {
    finding.lines.push_back(
        "at " + place_of_address(w, at, bytes) +
        "; since they were allocated no kernel, copy or fill has written there");
  }
  checker.report(finding);
}

void report_race(Warp& w, const Ins* i, int lane, const SharedAccess& access,
                 const RaceBook::Other& other) {
  Checker& checker = *w.block->check->checker;
  if (!checker.is_new(Mistake::kRace, i)) return;
  Finding finding = begin(w, i, lane,
                          format("race: %s of %u bytes, shared memory",
                                 access.writes ? "write" : "read", access.bytes));
  finding.lines.push_back(format("at offset 0x%x of %u bytes", access.offset, w.shared_bytes));
  finding.lines.push_back(std::string("with the ") + (other.wrote ? "write" : "read") +
                          " by thread " + thread_text(w, other.thread) + " at " +
                          place_in_text(w, other.at) + ": no barrier lies between them");
  checker.report(finding);
}

}  // namespace farcall::softgpu
