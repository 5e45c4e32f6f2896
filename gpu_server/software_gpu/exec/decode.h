// From the syntax tree of one function to its decoded form.
//
//   KernelBuilder builder(module, addresses);
//   Status done = builder.build(function_index, kernel_body);
//
// KernelBuilder decodes a kernel and whatever it calls. FunctionDecoder does one function: it gives
// every register, immediate and special register a row, picks a handler for every instruction, and
// refuses by name what no handler exists for.
// Threads: one.
#pragma once
#include <map>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gpu_server/software_gpu/exec/runtime.h"
#include "gpu_server/software_gpu/ptx/ast.h"
#include "transport/base/status.h"

namespace farcall::softgpu {

// The modifiers of an instruction, for questions.
class Mods {
 public:
  explicit Mods(const std::vector<std::string_view>& words) : words_(words) {}
  bool has(std::string_view word) const;
  // The n-th word that names a type.
  std::optional<ptx::Type> type(std::size_t n = 0) const;
  std::size_t types() const;
  std::string_view word(std::size_t n) const { return n < words_.size() ? words_[n] : ""; }
  std::span<const std::string_view> all() const { return words_; }

 private:
  const std::vector<std::string_view>& words_;
};

Ty type_of(ptx::Type type);
std::uint32_t bytes_of(Ty type);
bool is_float(Ty type);
bool is_signed(Ty type);
Ty unsigned_twin(Ty type);

class KernelBuilder {
 public:
  // addresses[v]: where variable v of the module lies (global and const ones).
  KernelBuilder(const ptx::Module& module, const std::vector<std::uint64_t>& addresses)
      : module_(module), addresses_(addresses) {}
  Status build(std::size_t function, detail::KernelBody& kernel);

  const ptx::Module& module() const { return module_; }
  std::uint64_t address_of(std::size_t variable) const { return addresses_[variable]; }
  // Offset of a static shared variable, which is placed at first use.
  std::uint64_t shared_offset(const ptx::Variable& variable);
  // Dynamic shared memory lies behind the static, so its offset is known at the end only.
  void note_dynamic_shared(std::uint32_t align);
  std::int64_t callee(std::size_t function);  // asks for the function to be decoded as well
  void note_reserved_shared() { kernel_->uses_reserved_shared = true; }
  void note_indirect_call() { indirect_ = true; }
  std::uint16_t next_slot() { return static_cast<std::uint16_t>(kernel_->slots++); }
  void note_spin() { kernel_->warps_independent = false; }

 private:
  Status decode_one(std::size_t function);
  void leave_out(std::size_t n);
  std::uint64_t stack_bytes() const;

  const ptx::Module& module_;
  const std::vector<std::uint64_t>& addresses_;
  detail::KernelBody* kernel_ = nullptr;
  std::map<const ptx::Variable*, std::uint64_t> shared_;
  std::vector<std::unique_ptr<ptx::Body>> bodies_;  // kept: shared_ knows their variables
  std::vector<std::size_t> wanted_;  // module functions, in the order of kernel_->functions
  std::vector<std::vector<std::int64_t>> calls_;
  std::uint64_t all_bytes_ = 0;  // registers and constants of all functions so far
  bool indirect_ = false;
};

class FunctionDecoder {
 public:
  FunctionDecoder(KernelBuilder& kernel, const ptx::Function& function, const ptx::Body& body,
                  FunctionBody& out)
      : kernel_(kernel), function_(function), body_(body), out_(out) {}
  Status decode();
  std::vector<std::int64_t> called() && { return std::move(called_); }

 private:
  using Method = void (FunctionDecoder::*)();
  // decode_methods.cpp
  using MethodTable = std::unordered_map<std::string_view, Method>;
  static MethodTable arithmetic_methods();
  static MethodTable bit_methods();
  static MethodTable other_methods();
  static const MethodTable& methods();

  // decode.cpp
  void lay_out_locals();
  void one(const ptx::Instruction& instruction);
  void close_guard(std::size_t placeholder);
  void fix_branches();
  void finish_frame();
  void unsupported(std::string_view why = "");
  Ins& emit(Op op, Ty type, unsigned variant = 0);
  bool known(Op op, Ty type, unsigned variant = 0) const;

  // decode_fixed.cpp
  void count_writes();
  bool stand_for(const ptx::Operand& to, std::uint32_t row, bool wide);
  bool stands_for(const ptx::Operand& to, const ptx::Operand& from, bool wide);
  bool stands_for_param(const ptx::Operand& to, std::uint32_t at, Ty type);

  // decode_operands.cpp
  std::uint32_t new_row(bool wide);
  std::uint32_t new_pred();
  std::uint32_t constant(std::uint64_t bits, bool wide);
  std::uint32_t register_row(std::int32_t reg);
  bool is_wide(std::int32_t reg) const;
  bool is_pred(std::int32_t reg) const;
  std::uint32_t source(const ptx::Operand& operand, Ty type);
  std::uint32_t dest(const ptx::Operand& operand, Ty type);
  std::uint32_t source_pred(const ptx::Operand& operand);  // un-negated copy where needed
  std::uint32_t dest_pred(const ptx::Operand& operand);
  std::uint32_t special(std::string_view name, bool wide);
  static bool is_clock(std::string_view name);
  const ptx::Variable* dynamic_shared(const ptx::Symbol& symbol) const;
  std::uint32_t symbol_row(const ptx::Operand& operand, bool wide);
  std::uint64_t symbol_value(const ptx::Symbol& symbol, std::int64_t offset, bool* frame_relative);
  std::uint32_t frame_address(std::uint64_t offset, bool wide);
  const ptx::Operand& operand(std::size_t n);
  std::size_t operands() const { return now_->operands.size(); }
  Ty only_type(std::size_t n = 0);
  unsigned float_flags() const;

  // decode_arith.cpp
  void simple(Op op, int sources);
  void add() { simple(Op::kAdd, 2); }
  void sub() { simple(Op::kSub, 2); }
  void mul();
  void mad();
  void fma() { simple(Op::kFma, 3); }
  void div() { simple(Op::kDiv, 2); }
  void rem() { simple(Op::kRem, 2); }
  void abs() { simple(Op::kAbs, 1); }
  void neg() { simple(Op::kNeg, 1); }
  void min() { simple(Op::kMin, 2); }
  void max() { simple(Op::kMax, 2); }
  void rcp() { simple(Op::kRcp, 1); }
  void sqrt() { simple(Op::kSqrt, 1); }
  void rsqrt() { simple(Op::kRsqrt, 1); }
  void ex2() { simple(Op::kEx2, 1); }
  void lg2() { simple(Op::kLg2, 1); }
  void sin() { simple(Op::kSin, 1); }
  void cos() { simple(Op::kCos, 1); }
  void tanh() { simple(Op::kTanh, 1); }
  void copysign() { simple(Op::kCopysign, 2); }
  void sad() { simple(Op::kSad, 3); }
  void carry();
  void dot_product();
  void video();

  // decode_bits.cpp
  void logic();
  void shift();
  void count();
  void bit_field();
  void permute();
  void lop3();
  void funnel();
  void selp();
  void slct();
  void compare();
  void set();
  void testp();
  void mov();
  void move_packed(const ptx::Operand& to, const ptx::Operand& from, Ty type);
  void cvt();
  void cvt_tf32();
  void emit_cvt(Ty to, Ty from, std::uint32_t d, std::uint32_t a, unsigned flags);
  void cvta();
  void isspacep();

  // decode_memory.cpp
  void ld();
  void st();
  void atom();
  void fence();
  void cp();
  void prefetch();
  void memory_flags(Ins& ins, const Mods& mods);
  void address(const ptx::Operand& operand, Space space, std::uint32_t* row, std::int64_t* imm,
               bool* narrow);
  Space space_of(const Mods& mods, const ptx::Operand& address);
  bool param_load(const ptx::Operand& to, const ptx::Operand& from, Ty type);

  // decode_control.cpp
  void bra();
  void brx();
  void ret();
  void exit();
  void trap();
  void call();
  void bar();
  void shfl();
  void vote();
  void activemask();
  void match();
  void redux();
  void nanosleep();
  void nop();
  LocalSlot call_slot(const ptx::Operand& operand);

  // decode_cluster.cpp
  struct Target {
    Space space = Space::kGeneric;
    std::uint32_t row = 0;
    std::int64_t imm = 0;
    std::uint16_t flags = 0;  // kAddress32 or none
  };
  std::uint32_t generic_row(const ptx::Operand& operand, Space space);
  Target target_of(const Mods& mods, const ptx::Operand& operand);
  void map_address();
  void cluster_barrier();
  void cvta_cluster(bool to);
  void mbarrier();
  Ins& emit_mbarrier(MbarrierDo what, const Target& at);
  void bulk_copy();
  void complete_bytes(const ptx::Operand& object, std::uint32_t bytes);

  // decode_image.cpp
  void tex();
  void tld4();
  void image_query();
  void suld();
  void sust();
  struct ImageOperands {
    std::uint32_t rows[kImageRows];
    std::uint32_t object = 0;
    std::uint8_t shape = 0;
  };
  // The object and the coordinates of `[object, {x, y, …}]`; every other row is a zero.
  ImageOperands image_operands(const ptx::Operand& address, Ty coordinate);
  void image_steps(ImageOperands& image, std::uint32_t first, const ptx::Operand& steps);
  std::uint32_t image_object(const ptx::Operand& operand);
  Ins& emit_image(Op op, const ImageOperands& image);
  std::uint8_t outside_of(const Mods& mods);

  // decode_matrix.cpp
  void mma();
  void wmma();
  void matrix_rows();
  void hold(Fragment& fragment, const ptx::Operand& operand, bool writes);
  Ins& emit_matrix(Op op, const MatrixSite& site, Ty type = Ty::kU32, unsigned variant = 0);

  KernelBuilder& kernel_;
  const ptx::Function& function_;
  const ptx::Body& body_;
  FunctionBody& out_;
  const ptx::Instruction* now_ = nullptr;
  Status status_;
  bool guard_taken_ = false;  // the instruction deals with its guard itself

  static constexpr std::uint32_t kNoRow = ~std::uint32_t{0};
  static constexpr std::uint32_t kConstantBit = 0x8000'0000u;
  std::uint32_t frame_used_ = 0;
  std::uint32_t pred_chunk_ = 0, preds_left_ = 0;
  std::vector<std::uint32_t> rows_;   // by register
  std::vector<std::uint8_t> writes_;  // by register: instructions that write it, at most 2
  std::vector<bool> fixed_;           // by register: its row is filled ahead
  std::map<std::pair<std::uint64_t, bool>, std::uint32_t> constants_;
  std::uint32_t constants_end_ = 0;
  std::map<std::pair<Special, bool>, std::uint32_t> specials_;
  std::map<std::pair<std::uint64_t, bool>, std::uint32_t> params_;
  std::vector<std::uint64_t> local_offsets_;  // by Body::variables index
  std::vector<std::uint32_t> starts_;         // first Ins of an instruction
  struct Jump {
    std::uint32_t at;  // Ins
    std::uint32_t label;
  };
  std::vector<Jump> jumps_;
  struct TableJump {
    std::uint32_t at;
    std::uint32_t table;  // Body::tables
  };
  std::vector<TableJump> table_jumps_;
  std::vector<std::int64_t> called_;
  std::uint32_t carry_pred_ = kNoRow;
};

}  // namespace farcall::softgpu
