// Decodes a kernel with everything it calls, and lays out its shared and local memory.
#include <algorithm>

#include "gpu_server/software_gpu/exec/bounds.h"
#include "gpu_server/software_gpu/exec/decode.h"
#include "gpu_server/software_gpu/ptx/parser.h"

namespace farcall::softgpu {
namespace {

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
  const std::uint64_t deepest = stack_bytes();
  if (deepest > kLocalBytesMax) {
    return {Code::kUnsupported, kernel.name + ": too much local memory in its chains of calls"};
  }
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
  all_bytes_ += body->frame_bytes;
  kernel_->functions.push_back(std::move(body));
  if (all_bytes_ > kKernelBytesMax) {
    return {Code::kOverQuota, kernel_->name + ": too many registers and constants"};
  }
  return ok();
}

// Local memory of the deepest chain of calls from function 0; what calls itself, or through a
// pointer, counts as unknown. Each function is looked at once, however many ways lead to it.
std::uint64_t KernelBuilder::stack_bytes() const {
  struct Visit {
    std::size_t function;
    std::size_t next = 0;  // of its calls
    std::uint64_t below = 0;
  };
  enum class Seen : std::uint8_t { kNever, kOnPath, kDone };
  std::vector<Seen> seen(wanted_.size(), Seen::kNever);
  std::vector<std::uint64_t> deepest(wanted_.size(), 0);
  std::vector<Visit> path{{0}};
  seen[0] = Seen::kOnPath;
  while (!path.empty()) {
    Visit& top = path.back();
    if (top.next < calls_[top.function].size()) {
      const std::int64_t called = calls_[top.function][top.next++];
      const auto callee = static_cast<std::size_t>(called);
      if (called >= 0 && seen[callee] == Seen::kNever) {
        seen[callee] = Seen::kOnPath;
        path.push_back({callee});
        continue;
      }
      const bool is_known = called >= 0 && seen[callee] == Seen::kDone;
      top.below = std::max(top.below, is_known ? deepest[callee] : kUnknownStackBytes);
      continue;
    }
    const std::uint64_t all = kernel_->functions[top.function]->local_bytes + top.below;
    deepest[top.function] = all;
    seen[top.function] = Seen::kDone;
    path.pop_back();
    if (!path.empty()) path.back().below = std::max(path.back().below, all);
  }
  return deepest[0];
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
