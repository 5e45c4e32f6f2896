#include "gpu_server/software_gpu/ptx/scopes.h"

#include <charconv>

#include "transport/base/limits.h"

namespace farcall::softgpu::ptx {

Status Scopes::open() {
  const std::uint32_t depth = scopes_[current_].depth + 1;
  if (depth > limits::kPtxNestingMax) return {Code::kOverQuota, "more than 64 nested scopes"};
  if (scopes_.size() == limits::kPtxScopesMax)
    return {Code::kOverQuota, "more than 262,144 scopes"};
  Scope scope;
  scope.parent = current_;
  scope.depth = depth;
  current_ = static_cast<std::uint32_t>(scopes_.size());
  scopes_.push_back(std::move(scope));
  return {};
}

bool Scopes::close() {
  if (scopes_[current_].parent == kNoParent) return false;
  current_ = scopes_[current_].parent;
  return true;
}

Status Scopes::grow(std::uint64_t count, Type type) {
  if (body_.registers.size() + count > limits::kPtxRegistersMax) {
    return {Code::kOverQuota, "more than 1,048,576 registers"};
  }
  body_.registers.insert(body_.registers.end(), static_cast<std::size_t>(count), type);
  return {};
}

Status Scopes::add_register(std::string_view name, Type type, std::uint32_t width) {
  const auto first = static_cast<std::int32_t>(body_.registers.size());
  FARCALL_TRY(grow(width, type));
  scopes_[current_].registers.insert_or_assign(name, RegisterName{first, width});
  return {};
}

Status Scopes::add_registers(std::string_view prefix, std::uint32_t count, Type type,
                             std::uint32_t width) {
  const auto first = static_cast<std::int32_t>(body_.registers.size());
  FARCALL_TRY(grow(std::uint64_t{count} * width, type));
  scopes_[current_].banks.insert_or_assign(prefix, Bank{first, count, width});
  return {};
}

bool Scopes::add_symbol(std::string_view name, Symbol symbol) {
  return scopes_[current_].symbols.emplace(name, symbol).second;
}

bool Scopes::add_label(std::string_view name, std::uint32_t label) {
  return scopes_[current_].labels.emplace(name, label).second;
}

std::optional<RegisterName> Scopes::find_in(const Scope& scope, std::string_view name) const {
  if (const auto found = scope.registers.find(name); found != scope.registers.end()) {
    return found->second;
  }
  // "%r12" may be number 12 of "%r" or number 2 of "%r1".
  for (std::size_t cut = name.size(); cut-- > 1;) {
    if (name[cut] < '0' || name[cut] > '9') break;
    if (name[cut] == '0' && cut + 1 != name.size()) continue;  // no leading zeros
    const auto bank = scope.banks.find(name.substr(0, cut));
    if (bank == scope.banks.end()) continue;
    std::uint32_t number = 0;
    const auto [stop, error] =
        std::from_chars(name.data() + cut, name.data() + name.size(), number);
    if (error != std::errc() || number >= bank->second.count) continue;
    return RegisterName{bank->second.first + static_cast<std::int32_t>(number * bank->second.width),
                        bank->second.width};
  }
  return std::nullopt;
}

std::optional<RegisterName> Scopes::find_register(std::string_view name) const {
  for (std::uint32_t scope = current_; scope != kNoParent; scope = scopes_[scope].parent) {
    if (const auto found = find_in(scopes_[scope], name)) return found;
  }
  return std::nullopt;
}

std::optional<Symbol> Scopes::find_symbol(std::string_view name, std::uint32_t scope) const {
  for (; scope != kNoParent; scope = scopes_[scope].parent) {
    const auto found = scopes_[scope].symbols.find(name);
    if (found != scopes_[scope].symbols.end()) return found->second;
  }
  return std::nullopt;
}

std::optional<std::uint32_t> Scopes::find_label(std::string_view name, std::uint32_t scope) const {
  for (; scope != kNoParent; scope = scopes_[scope].parent) {
    const auto found = scopes_[scope].labels.find(name);
    if (found != scopes_[scope].labels.end()) return found->second;
  }
  return std::nullopt;
}

}  // namespace farcall::softgpu::ptx
