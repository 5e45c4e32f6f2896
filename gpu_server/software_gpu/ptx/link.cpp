// Linking: several parsed texts become one module whose names point across texts.
#include <algorithm>

#include "gpu_server/software_gpu/ptx/parser.h"

namespace farcall::softgpu::ptx {
namespace {

using Kind = Symbol::Kind;

// How good a claim to a name is: a definition beats a weak one, which beats a mere declaration.
enum class Claim { kNone, kDeclared, kWeak, kStrong };

Claim claim(const Variable& variable) {
  if (variable.is_extern) return variable.space == Space::kShared ? Claim::kNone : Claim::kDeclared;
  if (!variable.is_visible) return Claim::kNone;
  return variable.is_weak ? Claim::kWeak : Claim::kStrong;
}

Claim claim(const Function& function) {
  // A declaration without .extern is a forward one, of a function that another text may define.
  if (!function.has_body) return Claim::kDeclared;
  if (!function.is_visible) return Claim::kNone;
  return function.is_weak ? Claim::kWeak : Claim::kStrong;
}

struct Winner {
  Symbol symbol;  // in the joined module, before the losers are dropped
  Claim claim = Claim::kNone;
};

class Linker {
 public:
  Result<Module> link(std::vector<Module> parts) {
    for (Module& part : parts) append(std::move(part));
    FARCALL_TRY(choose_all(joined_.variables, Kind::kVariable));
    FARCALL_TRY(choose_all(joined_.functions, Kind::kFunction));
    std::vector<Symbol> variables = keep_winners(joined_.variables, Kind::kVariable);
    std::vector<Symbol> functions = keep_winners(joined_.functions, Kind::kFunction);
    const auto move = [&](Symbol& symbol) {
      if (symbol.kind == Kind::kVariable) symbol = variables[symbol.index];
      if (symbol.kind == Kind::kFunction) symbol = functions[symbol.index];
    };
    for (Unit& unit : joined_.units) {
      for (auto& [name, symbol] : unit.names) move(symbol);
    }
    for (Variable& variable : joined_.variables) {
      for (Relocation& relocation : variable.relocations) move(relocation.symbol);
    }
    return std::move(joined_);
  }

 private:
  // Puts a part behind what is there; its indices grow by what was there before.
  void append(Module part) {
    const auto units = static_cast<std::uint32_t>(joined_.units.size());
    const auto variables = static_cast<std::uint32_t>(joined_.variables.size());
    const auto functions = static_cast<std::uint32_t>(joined_.functions.size());
    const auto move = [&](Symbol& symbol) {
      if (symbol.kind == Kind::kVariable) symbol.index += variables;
      if (symbol.kind == Kind::kFunction) symbol.index += functions;
    };
    for (Unit& unit : part.units) {
      for (auto& [name, symbol] : unit.names) move(symbol);
      joined_.units.push_back(std::move(unit));
    }
    for (Variable& variable : part.variables) {
      for (Relocation& relocation : variable.relocations) move(relocation.symbol);
      joined_.variables.push_back(std::move(variable));
    }
    for (Function& function : part.functions) {
      function.unit += units;
      joined_.functions.push_back(std::move(function));
    }
    joined_.sm = std::max(joined_.sm, part.sm);
  }

  template <class Item>
  Status choose_all(const std::vector<Item>& items, Kind kind) {
    for (std::uint32_t i = 0; i < items.size(); ++i) {
      const Claim mine = claim(items[i]);
      if (mine == Claim::kNone) continue;
      Winner& winner = winners_[items[i].name];
      if (mine == Claim::kStrong && winner.claim == Claim::kStrong) {
        return {Code::kMalformed, "two modules define '" + items[i].name + "'"};
      }
      if (mine > winner.claim) winner = {{kind, i}, mine};
    }
    return {};
  }

  // Drops every item that lost its name to another. Returns where each old index went.
  template <class Item>
  std::vector<Symbol> keep_winners(std::vector<Item>& items, Kind kind) {
    std::vector<Symbol> moved(items.size());
    std::vector<Item> kept;
    for (std::uint32_t i = 0; i < items.size(); ++i) {
      if (const Winner* winner = winner_of(items[i]);
          winner != nullptr && (winner->symbol.kind != kind || winner->symbol.index != i)) {
        moved[i] = {Kind::kUnresolved, i};
        continue;
      }
      moved[i] = {kind, static_cast<std::uint32_t>(kept.size())};
      kept.push_back(std::move(items[i]));
    }
    for (std::uint32_t i = 0; i < items.size(); ++i) {
      if (moved[i].kind != Kind::kUnresolved) continue;
      const Symbol to = winner_of(items[i])->symbol;
      // A variable and a function of one name never meet: such a loser stays unresolved.
      moved[i] = to.kind == kind ? moved[to.index] : Symbol{};
    }
    items = std::move(kept);
    return moved;
  }

  template <class Item>
  const Winner* winner_of(const Item& item) const {
    if (claim(item) == Claim::kNone) return nullptr;
    const auto found = winners_.find(item.name);
    return found == winners_.end() ? nullptr : &found->second;
  }

  Module joined_;
  std::map<std::string, Winner, std::less<>> winners_;
};

}  // namespace

Result<Module> link_modules(std::vector<Module> parts) {
  if (parts.empty()) return Status(Code::kMalformed, "nothing to link");
  return Linker().link(std::move(parts));
}

}  // namespace farcall::softgpu::ptx
