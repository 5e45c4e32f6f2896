// The names of a body: registers, local variables, parameters and labels, by nested scope.
//
//   Scopes scopes(body);
//   scopes.open();  scopes.add_registers("%r", 27, Type::kB32, 1);
//   scopes.find_register("%r5");                          // from the innermost scope outwards
//
// A closed scope stays known by its number, because a branch may name a label that comes later.
// Internal to the front end.  Owner: writes into the Body it was given.  Threads: one.
#pragma once
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gpu_server/software_gpu/ptx/ast.h"
#include "transport/base/status.h"

namespace farcall::softgpu::ptx {

// A register name: `width` registers in a row from `first` (1, or more for .v2 and .v4).
struct RegisterName {
  std::int32_t first = 0;
  std::uint32_t width = 1;
};

class Scopes {
 public:
  explicit Scopes(Body& body) : body_(body) { scopes_.push_back({}); }

  // Errors: kOverQuota beyond the nesting limit.
  Status open();
  bool close();  // false when only the outermost is left
  std::uint32_t current() const { return current_; }

  // One register, or with count `prefix`0 … `prefix`(count-1).
  // Errors: kOverQuota beyond limits::kPtxRegistersMax.
  Status add_register(std::string_view name, Type type, std::uint32_t width);
  Status add_registers(std::string_view prefix, std::uint32_t count, Type type,
                       std::uint32_t width);
  // Anything else. False when the scope has that name already.
  bool add_symbol(std::string_view name, Symbol symbol);
  bool add_label(std::string_view name, std::uint32_t label);

  std::optional<RegisterName> find_register(std::string_view name) const;
  // From scope `scope` outwards.
  std::optional<Symbol> find_symbol(std::string_view name, std::uint32_t scope) const;
  std::optional<std::uint32_t> find_label(std::string_view name, std::uint32_t scope) const;

 private:
  static constexpr std::uint32_t kNoParent = ~std::uint32_t{0};
  struct Bank {
    std::int32_t first;
    std::uint32_t count;
    std::uint32_t width;
  };
  struct Scope {
    std::uint32_t parent = kNoParent;
    std::uint32_t depth = 0;
    std::unordered_map<std::string_view, RegisterName> registers;
    std::unordered_map<std::string_view, Bank> banks;
    std::unordered_map<std::string_view, Symbol> symbols;
    std::unordered_map<std::string_view, std::uint32_t> labels;
  };
  std::optional<RegisterName> find_in(const Scope& scope, std::string_view name) const;
  Status grow(std::uint64_t count, Type type);

  Body& body_;
  std::vector<Scope> scopes_;
  std::uint32_t current_ = 0;
};

}  // namespace farcall::softgpu::ptx
