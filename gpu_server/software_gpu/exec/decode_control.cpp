// Decoding of branches, calls, barriers and warp-wide instructions.
#include <optional>

#include "gpu_server/software_gpu/exec/decode.h"
#include "gpu_server/software_gpu/exec/graph_call.h"

namespace farcall::softgpu {

using Kind = ptx::Operand::Kind;

void FunctionDecoder::bra() {
  if (operand(0).kind != Kind::kLabel) return unsupported();
  const bool guarded = now_->guard_reg != ptx::Operand::kNoRegister;
  const std::uint32_t p = guarded ? register_row(now_->guard_reg) : 0;
  jumps_.push_back({static_cast<std::uint32_t>(out_.code.size()), operand(0).label});
  Ins& ins = emit(guarded ? Op::kBranch : Op::kJump, Ty::kU32);
  ins.a = p;
  ins.flags = guarded && now_->guard_negated ? kNegated : 0;
  guard_taken_ = true;
}

void FunctionDecoder::brx() {
  if (operand(1).kind != Kind::kSymbol || operand(1).symbol.kind != ptx::Symbol::Kind::kTable) {
    return unsupported();
  }
  const std::uint32_t index = source(operand(0), Ty::kU32);
  table_jumps_.push_back({static_cast<std::uint32_t>(out_.code.size()), operand(1).symbol.index});
  emit(Op::kBranchIndexed, Ty::kU32).a = index;
}

void FunctionDecoder::ret() { emit(Op::kReturn, Ty::kU32); }
void FunctionDecoder::exit() { emit(Op::kExit, Ty::kU32); }
void FunctionDecoder::trap() { emit(Op::kTrap, Ty::kU32); }
void FunctionDecoder::nop() { emit(Op::kNop, Ty::kU32); }
void FunctionDecoder::nanosleep() {
  kernel_.note_spin();
  emit(Op::kNanosleep, Ty::kU32);
}

LocalSlot FunctionDecoder::call_slot(const ptx::Operand& operand) {
  const bool variable = operand.kind == Kind::kSymbol &&
                        operand.symbol.kind == ptx::Symbol::Kind::kLocal &&
                        body_.variables[operand.symbol.index].space == ptx::Space::kParam;
  if (!variable) {
    unsupported("call argument " + std::string(operand.text));
    return {0, 0};
  }
  return {static_cast<std::uint32_t>(local_offsets_[operand.symbol.index]),
          static_cast<std::uint32_t>(body_.variables[operand.symbol.index].bytes)};
}

namespace {

// Functions that the driver provides. Those below libcudadevrt come in two generations that take
// the same: "cnp…" of the old interface of dynamic parallelism, "__cuda_syscall_cnpv2…" of the
// present.
std::optional<Library> provided(std::string_view name) {
  static const std::unordered_map<std::string_view, Library> kLibrary = {
      {"vprintf", Library::kVprintf},
      {"__assertfail", Library::kAssertFail},
      {"malloc", Library::kMalloc},
      {"free", Library::kFree},
      {"cudaGraphSetConditional", kSetGraphCondition}};
  static const std::unordered_map<std::string_view, Library> kDeviceRuntime = {
      {"GetParameterBufferV2", Library::kParameterBuffer},
      {"LaunchDeviceV2", Library::kLaunchDevice},
      {"StreamCreate", Library::kNewStreamOrEvent},
      {"EventCreate", Library::kNewStreamOrEvent},
      {"StreamDestroy", Library::kStreamOrEvent},
      {"StreamWaitEvent", Library::kStreamOrEvent},
      {"EventRecord", Library::kStreamOrEvent},
      {"EventDestroy", Library::kStreamOrEvent},
      {"GetDevice", Library::kGetDevice},
      {"GetDeviceCount", Library::kGetDeviceCount},
      {"SetLastError", Library::kSetLastError},
      {"GetLastError", Library::kGetLastError}};
  if (const auto found = kLibrary.find(name); found != kLibrary.end()) return found->second;
  for (const std::string_view generation : {"__cuda_syscall_cnpv2", "cnp"}) {
    if (!name.starts_with(generation)) continue;
    const auto found = kDeviceRuntime.find(name.substr(generation.size()));
    if (found != kDeviceRuntime.end()) return found->second;
  }
  return std::nullopt;
}

}  // namespace

void FunctionDecoder::call() {
  CallSite site;
  for (const ptx::Operand& result : operand(0).parts) site.results.push_back(call_slot(result));
  for (const ptx::Operand& argument : operand(2).parts) {
    site.arguments.push_back(call_slot(argument));
  }
  const ptx::Operand& target = operand(1);
  std::uint32_t row = 0;
  Op op = Op::kCall;
  if (target.kind == Kind::kRegister) {
    op = Op::kCallIndirect;
    row = source(target, Ty::kU64);
    kernel_.note_indirect_call();
    called_.push_back(-1);
  } else if (target.kind == Kind::kSymbol && target.symbol.kind == ptx::Symbol::Kind::kFunction) {
    const ptx::Function& function = kernel_.module().functions[target.symbol.index];
    if (function.has_body && !function.is_entry) {
      site.callee = kernel_.callee(target.symbol.index);
      called_.push_back(site.callee);
    } else if (const auto found = provided(function.name)) {
      op = Op::kLibrary;
      site.library = *found;
    } else {
      return unsupported("external function " + function.name);
    }
  } else {
    return unsupported("call target " + std::string(target.text));
  }
  out_.calls.push_back(std::move(site));
  Ins& ins = emit(op, Ty::kU32);
  ins.a = row;
  ins.table = static_cast<std::uint32_t>(out_.calls.size() - 1);
}

// bar and barrier in all their spellings; see control.cpp for `detail`.
void FunctionDecoder::bar() {
  const Mods mods(now_->mods);
  if (mods.has("cluster")) return cluster_barrier();
  kernel_.note_spin();
  if (mods.has("warp")) {
    const std::uint32_t members = source(operand(0), Ty::kU32);
    emit(Op::kBarWarp, Ty::kU32).f = members;
    return;
  }
  const bool reduces = mods.has("red");
  const std::size_t first = reduces ? 1 : 0;
  const std::size_t last = reduces ? operands() - 1 : operands();  // the predicate ends bar.red
  const bool counted = last > first + 1;
  const std::uint32_t a = source(operand(first), Ty::kU32);
  const std::uint32_t b = counted ? source(operand(first + 1), Ty::kU32) : 0;
  std::uint32_t c = 0, d = 0;
  std::uint8_t detail = mods.has("arrive") ? 1 : 0;
  if (reduces) {
    detail = mods.has("popc") ? 2 : mods.has("and") ? 3 : 4;
    c = source_pred(operand(last));
    d = detail == 2 ? dest(operand(0), Ty::kU32) : dest_pred(operand(0));
  }
  Ins& ins = emit(Op::kBarrier, Ty::kU32);
  ins.d = d;
  ins.a = a;
  ins.b = b;
  ins.c = c;
  ins.detail = detail;
  ins.flags = counted ? 0 : kAnyFlag;
}

void FunctionDecoder::shfl() {
  static const std::unordered_map<std::string_view, unsigned> kModes = {
      {"up", 0}, {"down", 1}, {"bfly", 2}, {"idx", 3}};
  const Mods mods(now_->mods);
  unsigned mode = 4;
  for (std::string_view word : mods.all()) {
    const auto found = kModes.find(word);
    if (found != kModes.end()) mode = found->second;
  }
  if (mode == 4) return unsupported();
  const bool pair = operand(0).kind == Kind::kPair;
  const std::uint32_t a = source(operand(1), Ty::kU32), b = source(operand(2), Ty::kU32);
  const std::uint32_t c = source(operand(3), Ty::kU32);
  // Without .sync nobody waits: an empty member mask.
  const std::uint32_t f = mods.has("sync") ? source(operand(4), Ty::kU32) : constant(0, false);
  const std::uint32_t d = dest(pair ? operand(0).parts[0] : operand(0), Ty::kU32);
  const std::uint32_t e = pair ? dest_pred(operand(0).parts[1]) : new_pred();
  Ins& ins = emit(Op::kShfl, Ty::kU32, mode);
  ins.d = d;
  ins.a = a;
  ins.b = b;
  ins.c = c;
  ins.e = e;
  ins.f = f;
}

// detail: 0 all, 1 any, 2 uni, 3 ballot.
void FunctionDecoder::vote() {
  const Mods mods(now_->mods);
  const bool ballot = mods.has("ballot");
  const std::uint32_t a = source_pred(operand(1));
  const std::uint32_t f = mods.has("sync") ? source(operand(2), Ty::kU32) : constant(0, false);
  const std::uint32_t d = ballot ? dest(operand(0), Ty::kU32) : dest_pred(operand(0));
  Ins& ins = emit(Op::kVote, Ty::kU32);
  ins.d = d;
  ins.a = a;
  ins.f = f;
  ins.detail = ballot ? 3 : mods.has("all") ? 0 : mods.has("any") ? 1 : 2;
}

void FunctionDecoder::activemask() {
  const std::uint32_t d = dest(operand(0), Ty::kU32);
  emit(Op::kActiveMask, Ty::kU32).d = d;
}

// detail: 0 any, 1 all.
void FunctionDecoder::match() {
  const Mods mods(now_->mods);
  const Ty type = only_type();
  const bool all = mods.has("all");
  const bool pair = operand(0).kind == Kind::kPair;
  const std::uint32_t a = source(operand(1), type), f = source(operand(2), Ty::kU32);
  const std::uint32_t d = dest(pair ? operand(0).parts[0] : operand(0), Ty::kU32);
  const std::uint32_t e = pair ? dest_pred(operand(0).parts[1]) : new_pred();
  Ins& ins = emit(Op::kMatch, type);
  ins.d = d;
  ins.a = a;
  ins.e = e;
  ins.f = f;
  ins.detail = all ? 1 : 0;
}

// detail as of atom: 0 add, 1 min, 2 max, 7 and, 8 or, 9 xor.
void FunctionDecoder::redux() {
  const Mods mods(now_->mods);
  const Ty type = only_type();
  if (is_float(type)) return unsupported();
  const std::uint32_t a = source(operand(1), type), f = source(operand(2), Ty::kU32);
  const std::uint32_t d = dest(operand(0), type);
  Ins& ins = emit(Op::kRedux, type);
  ins.d = d;
  ins.a = a;
  ins.f = f;
  ins.detail = mods.has("add")   ? 0
               : mods.has("min") ? 1
               : mods.has("max") ? 2
               : mods.has("and") ? 7
               : mods.has("or")  ? 8
                                 : 9;
}

}  // namespace farcall::softgpu
