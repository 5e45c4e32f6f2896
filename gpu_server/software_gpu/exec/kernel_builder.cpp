// Decodes a kernel with everything it calls, and lays out its shared and local memory.
#include "gpu_server/software_gpu/exec/decode.h"
#include "gpu_server/software_gpu/ptx/parser.h"

namespace farcall::softgpu {
namespace {

// Local memory of a kernel whose calls recurse or go through pointers: their depth is unknown.
constexpr std::uint64_t kUnknownStackBytes = 16 * 1024;

bool may_take_long(std::uint32_t key, const Ins& ins) {
  // Filters and matrix products are hundreds of instructions each.
  if (static_cast<Op>(key >> 16) >= Op::kTexture) return true;
  switch (static_cast<Op>(key >> 16)) {
    case Op::kJump:
    case Op::kBranch: return ins.imm <= 0;
    case Op::kBranchIndexed:
    case Op::kCall:
    case Op::kCallIndirect:
    case Op::kLibrary:
    case Op::kNanosleep:
    case Op::kMbarrier: return true;
    default: return false;
  }
}

std::uint32_t straight_length(const FunctionBody& body) {
  for (std::size_t i = 0; i < body.code.size(); ++i) {
    if (may_take_long(body.keys[i], body.code[i])) return 0;
  }
  return static_cast<std::uint32_t>(body.code.size());
}

}  // namespace

Status KernelBuilder::build(std::size_t function, detail::KernelBody& kernel) {
  kernel_ = &kernel;
  kernel.name = module_.functions[function].name;
  kernel.by_module_index.assign(module_.functions.size(), -1);
  callee(function);
  bool all_called = false;
  std::size_t surely_called = ~std::size_t{0};
  for (std::size_t n = 0; n < wanted_.size(); ++n) {
    if (Status decoded = decode_one(n); !decoded.ok()) {
      if (n < surely_called) return decoded;
      leave_out(n);
    }
    if (n + 1 == wanted_.size() && indirect_ && !all_called) {
      // Any function may be behind a pointer.
      all_called = true;
      surely_called = wanted_.size();
      for (std::size_t f = 0; f < module_.functions.size(); ++f) {
        if (module_.functions[f].has_body && !module_.functions[f].is_entry) callee(f);
      }
    }
  }
  std::vector<int> state(wanted_.size(), 0);
  std::uint64_t deepest = 0;
  stack_bytes(0, state, deepest);
  kernel.local_bytes = static_cast<std::uint32_t>(deepest);
  kernel.straight_length = straight_length(*kernel.functions[0]);
  return ok();
}

// A function that may be behind a pointer but cannot run: calling it is a fault.
void KernelBuilder::leave_out(std::size_t n) {
  kernel_->by_module_index[wanted_[n]] = -1;
  auto body = std::make_unique<FunctionBody>();
  body->index = n;
  body->name = module_.functions[wanted_[n]].name;
  body->code.emplace_back();
  body->keys.push_back(handler_key(Op::kTrap, Ty::kU32));
  body->frame_bytes = 256;
  kernel_->functions.push_back(std::move(body));
  calls_.emplace_back();
}

std::int64_t KernelBuilder::callee(std::size_t function) {
  std::int64_t& index = kernel_->by_module_index[function];
  if (index < 0) {
    index = static_cast<std::int64_t>(wanted_.size());
    wanted_.push_back(function);
  }
  return index;
}

Status KernelBuilder::decode_one(std::size_t n) {
  const ptx::Function& function = module_.functions[wanted_[n]];
  auto body = std::make_unique<FunctionBody>();
  body->index = n;
  Result<ptx::Body> parsed = ptx::parse_body(module_, function);
  if (!parsed.ok()) {
    return Status(parsed.status().code(), function.name + ": " + parsed.status().text());
  }
  bodies_.push_back(std::make_unique<ptx::Body>(std::move(parsed).value()));
  body->text = module_.units[function.unit].text;
  FunctionDecoder decoder(*this, function, *bodies_.back(), *body);
  FARCALL_TRY(decoder.decode());
  calls_.push_back(std::move(decoder).called());
  kernel_->functions.push_back(std::move(body));
  return ok();
}

// The deepest chain of calls from function `index`; state: 0 unknown, 1 on the path, 2 done.
void KernelBuilder::stack_bytes(std::size_t index, std::vector<int>& state,
                                std::uint64_t& deepest) {
  const std::uint64_t own = kernel_->functions[index]->local_bytes;
  std::uint64_t below = 0;
  state[index] = 1;
  for (const std::int64_t called : calls_[index]) {
    std::uint64_t bytes = kUnknownStackBytes;
    if (called >= 0 && state[static_cast<std::size_t>(called)] != 1) {
      stack_bytes(static_cast<std::size_t>(called), state, bytes);
    }
    below = bytes > below ? bytes : below;
  }
  state[index] = 2;
  deepest = own + below;
}

std::uint64_t KernelBuilder::shared_offset(const ptx::Variable& variable) {
  const auto found = shared_.find(&variable);
  if (found != shared_.end()) return found->second;
  const std::uint64_t align = variable.align < 1 ? 1 : variable.align;
  const std::uint64_t at = (kernel_->static_shared_bytes + align - 1) / align * align;
  const std::uint64_t end = at + variable.bytes;
  // Beyond any device: the launch refuses it.
  kernel_->static_shared_bytes = static_cast<std::uint32_t>(end > 0x7fffffff ? 0x7fffffff : end);
  shared_[&variable] = at;
  return at;
}

void KernelBuilder::note_dynamic_shared(std::uint32_t align) {
  if (align > kernel_->dynamic_align) kernel_->dynamic_align = align;
}

}  // namespace farcall::softgpu
