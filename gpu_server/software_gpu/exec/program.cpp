#include "gpu_server/software_gpu/exec/program.h"

#include <cstring>
#include <mutex>
#include <unordered_map>

#include "gpu_server/software_gpu/exec/checker.h"
#include "gpu_server/software_gpu/exec/decode.h"
#include "gpu_server/software_gpu/ptx/parser.h"

namespace farcall::softgpu {
namespace detail {

struct ProgramState {
  ptx::Module module;
  Memory& memory;
  std::vector<std::uint64_t> addresses;  // by variable; 0 for those without memory
  std::uint64_t const_bytes = 0;
  std::vector<std::unique_ptr<Kernel>> kernels;
  std::unordered_map<std::string_view, const Kernel*> by_name;

  ProgramState(ptx::Module m, Memory& where) : module(std::move(m)), memory(where) {}
  ~ProgramState() {
    for (const std::uint64_t address : addresses) {
      if (address != 0) (void)memory.release(address);
    }
  }
};

}  // namespace detail

struct Kernel::Lazy {
  std::mutex mutex;
  bool tried = false;
  Status status;
  detail::KernelBody body;
};

namespace {

bool has_memory(const ptx::Variable& variable) {
  return (variable.space == ptx::Space::kGlobal || variable.space == ptx::Space::kConst) &&
         !variable.is_extern;
}

Status place(detail::ProgramState& state) {
  state.addresses.assign(state.module.variables.size(), 0);
  for (std::size_t v = 0; v < state.module.variables.size(); ++v) {
    const ptx::Variable& variable = state.module.variables[v];
    if (variable.is_extern && variable.space != ptx::Space::kShared) {
      return Status(Code::kNotFound, "variable " + variable.name + " is declared but not defined");
    }
    if (variable.type == ptx::Type::kTexref || variable.type == ptx::Type::kSurfref) continue;
    if (!has_memory(variable)) continue;
    const std::size_t bytes = variable.bytes == 0 ? 1 : variable.bytes;
    const std::size_t align = variable.align < 256 ? 256 : variable.align;
    Result<std::uint64_t> address = state.memory.allocate(bytes, align);
    if (!address.ok()) return address.status();
    state.addresses[v] = address.value();
    if (Checker* const checker = active_checker()) {
      checker->watch().note_written(address.value(), bytes);  // by initialise(): zeros too
    }
    if (variable.space == ptx::Space::kConst) state.const_bytes += variable.bytes;
  }
  return ok();
}

// What a relocation's symbol is worth at run time.
Result<std::uint64_t> symbol_address(const detail::ProgramState& state,
                                     const ptx::Relocation& relocation) {
  if (relocation.symbol.kind == ptx::Symbol::Kind::kFunction) {
    return kFunctionTag + 16 * std::uint64_t{relocation.symbol.index};
  }
  if (relocation.symbol.kind == ptx::Symbol::Kind::kVariable &&
      state.addresses[relocation.symbol.index] != 0) {
    return state.addresses[relocation.symbol.index];
  }
  return Status(Code::kNotFound, "initialiser names unknown " + std::string(relocation.name));
}

Status initialise(const detail::ProgramState& state, std::size_t v) {
  const ptx::Variable& variable = state.module.variables[v];
  auto* bytes = reinterpret_cast<std::byte*>(state.addresses[v]);
  if (!variable.init.empty()) std::memcpy(bytes, variable.init.data(), variable.init.size());
  for (const ptx::Relocation& relocation : variable.relocations) {
    Result<std::uint64_t> address = symbol_address(state, relocation);
    if (!address.ok()) return address.status();
    const std::uint64_t value =
        (address.value() + static_cast<std::uint64_t>(relocation.addend)) >> relocation.shift;
    if (relocation.bytes > 8 || relocation.offset + relocation.bytes > variable.bytes) {
      return Status(Code::kMalformed, "initialiser of " + variable.name + " leaves the variable");
    }
    std::memcpy(bytes + relocation.offset, &value, relocation.bytes);
  }
  return ok();
}

}  // namespace

Kernel::Kernel(detail::ProgramState& program, std::size_t function)
    : program_(program), function_(function), lazy_(std::make_unique<Lazy>()) {
  const ptx::Function& entry = program.module.functions[function];
  name_ = entry.name;
  std::uint32_t at = 0;
  for (const ptx::Param& param : entry.params) {
    const std::uint32_t align = param.align < 1 ? 1 : param.align;
    at = (at + align - 1) / align * align;
    params_.push_back(KernelParam{at, param.bytes, align});
    at += param.bytes;
  }
  param_bytes_ = at;
  const auto product = [](const std::uint32_t(&dims)[3]) -> std::uint64_t {
    std::uint64_t all = 1;
    for (const std::uint32_t dim : dims) all *= dim == 0 ? 1 : dim;
    return all;
  };
  std::uint64_t threads = 1024;
  if (entry.max_threads[0] != 0) threads = product(entry.max_threads);
  if (entry.required_threads[0] != 0) threads = product(entry.required_threads);
  for (int k = 0; k < 3; ++k) required_cluster_[k] = entry.required_cluster[k];
  explicit_cluster_ = entry.explicit_cluster;
  max_threads_ = threads > 1024 ? 1024 : static_cast<std::uint32_t>(threads);
  const_bytes_ = static_cast<std::uint32_t>(program.const_bytes);
  target_ = program.module.units[entry.unit].sm;
}

Kernel::~Kernel() = default;

Status Kernel::decode() const {
  const std::lock_guard<std::mutex> held(lazy_->mutex);
  if (!lazy_->tried) {
    lazy_->tried = true;
    KernelBuilder builder(program_.module, program_.addresses);
    lazy_->status = builder.build(function_, lazy_->body);
  }
  return lazy_->status;
}

const detail::KernelBody* Kernel::body() const {
  const std::lock_guard<std::mutex> held(lazy_->mutex);
  return lazy_->tried && lazy_->status.ok() ? &lazy_->body : nullptr;
}

const Kernel* Kernel::entry(std::size_t function) const {
  for (const auto& kernel : program_.kernels) {
    if (kernel->function_ == function) return kernel.get();
  }
  return nullptr;
}

std::uint32_t Kernel::static_shared_bytes() const {
  const detail::KernelBody* known = body();
  return known != nullptr ? known->static_shared_bytes : 0;
}

std::uint32_t Kernel::local_bytes() const {
  const detail::KernelBody* known = body();
  return known != nullptr ? known->local_bytes : 0;
}

std::uint32_t Kernel::registers() const {
  const detail::KernelBody* known = body();
  if (known == nullptr) return 0;
  // PTX names a new register for every value; a device's compiler would need about this many.
  const std::uint32_t declared = known->functions[0]->registers;
  return declared < 16 ? 16 : declared > 64 ? 64 : declared;
}

Result<std::unique_ptr<Program>> Program::load(std::vector<std::string> ptx_texts, Memory& memory) {
  std::vector<ptx::Module> parts;
  for (std::string& text : ptx_texts) {
    Result<ptx::Module> part = ptx::parse_module(std::move(text));
    if (!part.ok()) return part.status();
    parts.push_back(std::move(part).value());
  }
  Result<ptx::Module> whole = ptx::link_modules(std::move(parts));
  if (!whole.ok()) return whole.status();
  auto state = std::make_unique<detail::ProgramState>(std::move(whole).value(), memory);
  FARCALL_TRY(place(*state));
  for (std::size_t v = 0; v < state->addresses.size(); ++v) {
    if (state->addresses[v] != 0) FARCALL_TRY(initialise(*state, v));
  }
  for (std::size_t f = 0; f < state->module.functions.size(); ++f) {
    const ptx::Function& function = state->module.functions[f];
    if (!function.is_entry || !function.has_body) continue;
    state->kernels.push_back(std::make_unique<Kernel>(*state, f));
    state->by_name.emplace(state->kernels.back()->name(), state->kernels.back().get());
  }
  return std::unique_ptr<Program>(new Program(std::move(state)));
}

Program::Program(std::unique_ptr<detail::ProgramState> state) : state_(std::move(state)) {}
Program::~Program() = default;

const Kernel* Program::kernel(std::string_view name) const {
  const auto found = state_->by_name.find(name);
  return found == state_->by_name.end() ? nullptr : found->second;
}

std::vector<std::string> Program::kernel_names() const {
  std::vector<std::string> names;
  for (const auto& kernel : state_->kernels) names.push_back(kernel->name());
  return names;
}

std::optional<Memory::Range> Program::global(std::string_view name) const {
  for (std::size_t v = 0; v < state_->addresses.size(); ++v) {
    const ptx::Variable& variable = state_->module.variables[v];
    if (state_->addresses[v] != 0 && variable.name == name) {
      return Memory::Range{state_->addresses[v], variable.bytes};
    }
  }
  return std::nullopt;
}

}  // namespace farcall::softgpu
