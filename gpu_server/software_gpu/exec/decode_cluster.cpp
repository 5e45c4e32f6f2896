// Decoding of what clusters, mbarriers and bulk copies need.
#include "gpu_server/software_gpu/exec/decode.h"

namespace farcall::softgpu {

using Kind = ptx::Operand::Kind;

// An address as a generic one, in a row of its own: of shared memory, the cluster's too, or global.
std::uint32_t FunctionDecoder::generic_row(const ptx::Operand& operand, Space space) {
  std::uint32_t row = 0;
  std::int64_t imm = 0;
  bool narrow = false;
  address(operand, space, &row, &imm, &narrow);
  const std::uint32_t d = new_row(true);
  Ins& ins = emit(Op::kClusterAddress, Ty::kU64);
  ins.d = d;
  ins.a = row;
  ins.imm = imm;
  ins.space = space;
  ins.flags = narrow ? kAddress32 : 0;
  return d;
}

// Where an access goes. Shared memory of other blocks is reached by generic addresses.
FunctionDecoder::Target FunctionDecoder::target_of(const Mods& mods, const ptx::Operand& operand) {
  Target target;
  target.space = space_of(mods, operand);
  if (target.space == Space::kShared && mods.has("shared::cluster")) {
    target.row = generic_row(operand, Space::kShared);
    target.space = Space::kGeneric;
    return target;
  }
  bool narrow = false;
  address(operand, target.space, &target.row, &target.imm, &narrow);
  target.flags = narrow ? kAddress32 : 0;
  return target;
}

// mapa and getctarank. Without .shared::cluster their addresses are generic.
void FunctionDecoder::map_address() {
  const Mods mods(now_->mods);
  const bool maps = now_->opcode == "mapa", in_cluster = mods.has("shared::cluster");
  const Ty type = only_type();
  const ptx::Operand& from = operand(1);
  if (operands() != (maps ? 3u : 2u)) return unsupported();
  const bool from_wide = from.reg != ptx::Operand::kNoRegister ? is_wide(from.reg) : !in_cluster;
  const std::uint32_t a = source(from, from_wide ? Ty::kU64 : Ty::kU32);
  const std::uint32_t b = maps ? source(operand(2), Ty::kU32) : constant(0, false);
  const std::uint32_t d = dest(operand(0), type);
  Ins& ins = emit(Op::kMapAddress, type);
  ins.d = d;
  ins.a = a;
  ins.b = b;
  ins.space = in_cluster ? Space::kShared : Space::kGeneric;
  ins.detail = maps ? (in_cluster ? 1 : 0) : 2;
  ins.flags = from_wide ? 0 : kAddress32;
}

void FunctionDecoder::cluster_barrier() {
  const Mods mods(now_->mods);
  const bool arrives = mods.has("arrive");
  if (arrives == mods.has("wait")) return unsupported();
  kernel_.note_spin();
  emit(Op::kClusterBarrier, Ty::kU32).detail = arrives ? 0 : 1;
}

// cvta between generic addresses and the cluster's.
void FunctionDecoder::cvta_cluster(bool to) {
  const std::uint32_t a = source(operand(1), Ty::kU64), d = dest(operand(0), Ty::kU64);
  Ins& ins = emit(Op::kClusterAddress, Ty::kU64);
  ins.d = d;
  ins.a = a;
  ins.space = Space::kShared;
  ins.flags = to ? kNegated : 0;
}

namespace {

std::optional<MbarrierDo> mbarrier_operation(const Mods& mods) {
  if (mods.has("test_wait") || mods.has("try_wait")) {
    return mods.has("parity") ? MbarrierDo::kWaitParity : MbarrierDo::kWait;
  }
  const bool expects = mods.has("expect_tx");
  if (mods.has("arrive_drop")) {
    return expects ? std::nullopt : std::optional(MbarrierDo::kDrop);
  }
  if (mods.has("arrive")) return expects ? MbarrierDo::kExpectAndArrive : MbarrierDo::kArrive;
  if (expects) return MbarrierDo::kExpect;
  if (mods.has("complete_tx")) return MbarrierDo::kComplete;
  if (mods.has("init")) return MbarrierDo::kInit;
  if (mods.has("inval")) return MbarrierDo::kInvalidate;
  return std::nullopt;
}

}  // namespace

Ins& FunctionDecoder::emit_mbarrier(MbarrierDo what, const Target& at) {
  Ins& ins = emit(Op::kMbarrier, Ty::kU64);
  ins.a = at.row;
  ins.imm = at.imm;
  ins.space = at.space;
  ins.flags = at.flags;
  ins.size_log2 = 3;
  ins.slot = kernel_.next_slot();
  ins.detail = static_cast<std::uint8_t>(what);
  kernel_.note_spin();
  return ins;
}

void FunctionDecoder::mbarrier() {
  const Mods mods(now_->mods);
  if (mods.has("pending_count")) {
    const std::uint32_t a = source(operand(1), Ty::kU64), d = dest(operand(0), Ty::kU32);
    Ins& ins = emit(Op::kPendingCount, Ty::kU64);
    ins.d = d;
    ins.a = a;
    return;
  }
  const std::optional<MbarrierDo> what = mbarrier_operation(mods);
  if (!what) return unsupported();
  const bool waits = *what >= MbarrierDo::kWait;
  const bool gives = *what >= MbarrierDo::kArrive;
  const std::size_t at = gives ? 1 : 0;
  const Target target = target_of(mods, operand(at));
  std::uint32_t b = constant(1, false);
  if (operands() > at + 1) {
    b = source(operand(at + 1), *what == MbarrierDo::kWait ? Ty::kU64 : Ty::kU32);
  }
  // Who arrives at another block's object gets no state: `_`.
  const bool sinks = gives && !waits && operand(0).kind != Kind::kRegister;
  const std::uint32_t d = waits   ? dest_pred(operand(0))
                          : sinks ? new_row(true)
                          : gives ? dest(operand(0), Ty::kU64)
                                  : 0;
  Ins& ins = emit_mbarrier(*what, target);
  ins.d = d;
  ins.b = b;
}

// cp.async.bulk between global and shared memory, done at once.
void FunctionDecoder::bulk_copy() {
  const Mods mods(now_->mods);
  if (mods.has("commit_group") || mods.has("wait_group") || mods.has("prefetch")) return nop();
  const std::string_view to = mods.word(2), from = mods.word(3);
  const auto space = [](std::string_view word) {
    return word == "global" ? Space::kGlobal : Space::kShared;
  };
  const bool counts = mods.has("mbarrier::complete_tx::bytes");
  const bool several = mods.has("multicast::cluster");
  const std::size_t wanted =
      3u + (counts ? 1u : 0u) + (several ? 1u : 0u) + (mods.has("L2::cache_hint") ? 1u : 0u);
  const bool known = mods.word(1) == "bulk" && (to.starts_with("shared") || to == "global") &&
                     (from.starts_with("shared") || from == "global");
  if (!known || mods.has("cp_mask") || operands() != wanted) return unsupported();
  const std::uint32_t d = generic_row(operand(0), space(to));
  const std::uint32_t a = generic_row(operand(1), space(from));
  const std::uint32_t b = source(operand(2), Ty::kU32);
  const std::uint32_t e = counts ? generic_row(operand(3), Space::kShared) : d;
  const std::uint32_t c = several ? source(operand(4), Ty::kU16) : b;
  Ins& ins = emit(Op::kBulkCopy, Ty::kU64);
  ins.d = d;
  ins.a = a;
  ins.b = b;
  ins.c = c;
  ins.e = e;
  ins.slot = kernel_.next_slot();
  ins.flags = static_cast<std::uint16_t>((counts ? kAnyFlag : 0) | (several ? kNegated : 0));
}

// The bytes that st.async or red.async has written, told to its mbarrier.
void FunctionDecoder::complete_bytes(const ptx::Operand& object, std::uint32_t bytes) {
  Target target;
  target.row = generic_row(object, Space::kShared);
  target.space = Space::kGeneric;
  emit_mbarrier(MbarrierDo::kComplete, target).b = constant(bytes, false);
}

}  // namespace farcall::softgpu
