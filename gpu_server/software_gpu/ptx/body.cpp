// A body's statements, and the names that could only be resolved once all of it was read.
#include <algorithm>
#include <set>

#include "gpu_server/software_gpu/ptx/declarations.h"
#include "gpu_server/software_gpu/ptx/operands.h"
#include "gpu_server/software_gpu/ptx/parser.h"
#include "gpu_server/software_gpu/ptx/scopes.h"
#include "gpu_server/software_gpu/ptx/signature.h"
#include "transport/base/limits.h"

namespace farcall::softgpu::ptx {
namespace {

class BodyParser {
 public:
  BodyParser(const Module& module, const Function& function)
      : unit_(module.units[function.unit]),
        function_(function),
        in_(function.body_text, function.body_line),
        scopes_(body_),
        operands_(in_, scopes_) {}

  Result<Body> parse() {
    FARCALL_TRY(add_params(function_.returns, Symbol::Kind::kReturn, body_.return_registers));
    FARCALL_TRY(add_params(function_.params, Symbol::Kind::kParam, body_.param_registers));
    FARCALL_TRY(scopes_.open());
    while (!in_.at_end()) {
      Status parsed = parse_statement();
      if (!parsed.ok()) return located(parsed);
    }
    FARCALL_TRY(resolve_tables());
    for (std::size_t i = 0; i < body_.instructions.size(); ++i) {
      for (Operand& operand : body_.instructions[i].operands) resolve(operand, scope_of_[i]);
    }
    return std::move(body_);
  }

 private:
  struct PendingTable {
    std::uint32_t scope;
    std::uint32_t line;
    bool calls;
    std::vector<std::string_view> names;
  };

  // Scopes does not know lines; everything the lexer reports has one already.
  Status located(const Status& status) const {
    if (status.text().rfind("PTX line", 0) == 0) return status;
    return {status.code(), in_.fail_at(in_.peek().line, status.text()).text()};
  }

  Status add_params(const std::vector<Param>& params, Symbol::Kind kind,
                    std::vector<std::int32_t>& registers) {
    for (std::uint32_t i = 0; i < params.size(); ++i) {
      registers.push_back(Operand::kNoRegister);
      if (params[i].space == Space::kReg) {
        registers.back() = static_cast<std::int32_t>(body_.registers.size());
        FARCALL_TRY(scopes_.add_register(params[i].name, params[i].type, 1));
      } else {
        scopes_.add_symbol(params[i].name, {kind, i});
      }
    }
    return {};
  }

  Status parse_statement() {
    if (in_.take(';')) return {};
    if (in_.take('{')) return scopes_.open();
    if (in_.at('}')) {
      if (!scopes_.close()) return in_.fail("a statement");
      in_.take();
      return {};
    }
    if (in_.at('@')) return parse_instruction();
    if (in_.at_directive()) return parse_directive();
    if (in_.peek().kind != Token::Kind::kWord) return in_.fail("a statement");
    const Token word = in_.take();
    if (in_.take(':')) return parse_label(word);
    return parse_operands(word, Instruction{});
  }

  Status parse_directive() {
    const Token word = in_.peek();
    if (word.text == ".loc" || word.text == ".file") {
      in_.skip_line(word.line);
      return {};
    }
    if (word.text == ".pragma") return skip_pragma(in_);
    if (word.text == ".section") {
      while (!in_.at_end() && !in_.at('{')) in_.take();
      return in_.skip_braces().status();
    }
    const Linkage linkage = parse_linkage(in_);
    const Token space = in_.take();
    switch (space_from_directive(space.text)) {
      case Space::kReg: return parse_registers();
      case Space::kLocal: return parse_locals(Space::kLocal, linkage);
      case Space::kShared: return parse_locals(Space::kShared, linkage);
      case Space::kParam: return parse_locals(Space::kParam, linkage);
      default: break;
    }
    return in_.fail_at(space.line, "unknown '" + std::string(space.text.substr(0, 64)) + "'");
  }

  // .reg .b32 %r<27>, %tmp;
  Status parse_registers() {
    Result<Shape> shape = parse_shape(in_);
    if (!shape.ok()) return shape.status();
    do {
      Result<std::string_view> name = in_.expect_name();
      if (!name.ok()) return name.status();
      if (in_.take('<')) {
        Result<std::uint32_t> count = in_.expect_u32();
        if (!count.ok()) return count.status();
        FARCALL_TRY(in_.expect('>'));
        FARCALL_TRY(scopes_.add_registers(name.value(), count.value(), shape->type, shape->vector));
      } else {
        FARCALL_TRY(scopes_.add_register(name.value(), shape->type, shape->vector));
      }
    } while (in_.take(','));
    return in_.expect(';');
  }

  Status parse_locals(Space space, Linkage linkage) {
    Result<std::vector<Variable>> variables = parse_variables(in_, space, linkage);
    if (!variables.ok()) return variables.status();
    const std::size_t first = body_.variables.size();
    for (Variable& variable : variables.value()) {
      if (!variable.relocations.empty()) {
        return in_.fail_at(variable.line, "an address in a local initialiser");
      }
      body_.variables.push_back(std::move(variable));
    }
    for (std::size_t i = first; i < body_.variables.size(); ++i) {
      const Symbol symbol{Symbol::Kind::kLocal, static_cast<std::uint32_t>(i)};
      // The map's key must outlive this body's vector: it is the name in the text.
      if (!scopes_.add_symbol(name_in_text(body_.variables[i]), symbol)) {
        return in_.fail_at(body_.variables[i].line, "a name that is defined already");
      }
    }
    return {};
  }

  std::string_view name_in_text(const Variable& variable) {
    return *local_names_.insert(variable.name).first;
  }

  Status parse_label(const Token& name) {
    const std::uint32_t scope = scopes_.current();
    bool fresh = true;
    if (in_.at_word(".branchtargets") || in_.at_word(".calltargets")) {
      const auto index = static_cast<std::uint32_t>(body_.tables.size());
      fresh = scopes_.add_symbol(name.text, {Symbol::Kind::kTable, index});
      FARCALL_TRY(parse_table(name, scope));
    } else if (in_.at_word(".callprototype")) {
      const auto index = static_cast<std::uint32_t>(body_.prototypes.size());
      fresh = scopes_.add_symbol(name.text, {Symbol::Kind::kPrototype, index});
      Result<Prototype> prototype = parse_prototype(in_);
      if (!prototype.ok()) return prototype.status();
      prototype->name = name.text;
      body_.prototypes.push_back(std::move(prototype).value());
    } else {
      fresh = scopes_.add_label(name.text, static_cast<std::uint32_t>(body_.labels.size()));
      body_.labels.push_back({name.text, static_cast<std::uint32_t>(body_.instructions.size())});
    }
    return fresh ? ok() : in_.fail_at(name.line, "a label that is defined already");
  }

  Status parse_table(const Token& name, std::uint32_t scope) {
    PendingTable pending{scope, name.line, in_.take().text == ".calltargets", {}};
    do {
      Result<std::string_view> target = in_.expect_name();
      if (!target.ok()) return target.status();
      pending.names.push_back(target.value());
    } while (in_.take(','));
    body_.tables.push_back({name.text, {}, {}});
    pending_tables_.push_back(std::move(pending));
    return in_.expect(';');
  }

  Status parse_instruction() {
    Instruction instruction;
    in_.take();
    instruction.guard_negated = in_.take('!');
    Result<std::int32_t> guard = operands_.parse_guard();
    if (!guard.ok()) return guard.status();
    instruction.guard_reg = guard.value();
    if (in_.peek().kind != Token::Kind::kWord || in_.at_directive()) {
      return in_.fail("an instruction");
    }
    const Token word = in_.take();
    return parse_operands(word, std::move(instruction));
  }

  // After the opcode, up to and with the ';'.
  Status parse_operands(const Token& word, Instruction instruction) {
    if (body_.instructions.size() == limits::kPtxInstructionsMax) {
      return {Code::kOverQuota, in_.fail_at(word.line, "more than 4,194,304 instructions").text()};
    }
    instruction.line = word.line;
    split_opcode(word.text, instruction);
    if (!in_.at(';')) {
      do {
        Result<Operand> operand = operands_.parse();
        if (!operand.ok()) return operand.status();
        instruction.operands.push_back(std::move(operand).value());
      } while (in_.take(','));
    }
    FARCALL_TRY(in_.expect(';'));
    if (instruction.opcode == "call") complete_call(instruction);
    body_.instructions.push_back(std::move(instruction));
    scope_of_.push_back(scopes_.current());
    return {};
  }

  static void split_opcode(std::string_view text, Instruction& instruction) {
    std::size_t dot = std::min(text.find('.'), text.size());
    instruction.opcode = text.substr(0, dot);
    const auto dots = std::count(text.begin(), text.end(), '.');
    instruction.mods.reserve(static_cast<std::size_t>(dots));
    while (dot < text.size()) {
      const std::size_t next = std::min(text.find('.', dot + 1), text.size());
      instruction.mods.push_back(text.substr(dot + 1, next - dot - 1));
      dot = next;
    }
  }

  // Empty lists are put where the text may leave them out.
  static void complete_call(Instruction& call) {
    std::vector<Operand>& operands = call.operands;
    Operand none;
    none.kind = Operand::Kind::kList;
    if (operands.empty()) return;
    if (operands[0].kind != Operand::Kind::kList) operands.insert(operands.begin(), none);
    if (operands.size() >= 2 &&
        (operands.size() == 2 || operands[2].kind != Operand::Kind::kList)) {
      operands.insert(operands.begin() + 2, none);
    }
  }

  Status resolve_tables() {
    for (std::size_t i = 0; i < pending_tables_.size(); ++i) {
      const PendingTable& pending = pending_tables_[i];
      for (std::string_view name : pending.names) {
        if (pending.calls) {
          body_.tables[i].functions.push_back(find_symbol(name, pending.scope));
        } else if (const auto label = scopes_.find_label(name, pending.scope)) {
          body_.tables[i].labels.push_back(*label);
        } else {
          return in_.fail_at(pending.line, "a branch target that is no label");
        }
      }
    }
    return {};
  }

  Symbol find_symbol(std::string_view name, std::uint32_t scope) const {
    if (const auto local = scopes_.find_symbol(name, scope)) return *local;
    const auto found = unit_.names.find(name);
    return found == unit_.names.end() ? Symbol{} : found->second;
  }

  void resolve(Operand& operand, std::uint32_t scope) const {
    for (Operand& part : operand.parts) resolve(part, scope);
    const bool named = operand.kind == Operand::Kind::kSymbol ||
                       (operand.kind == Operand::Kind::kAddress && operand.parts.empty());
    if (!named || operand.text.empty()) return;
    operand.symbol = find_symbol(operand.text, scope);
    if (operand.kind != Operand::Kind::kSymbol || operand.offset != 0) return;
    // A label hides a module's symbol of the same name, but not a local variable.
    if (operand.symbol.kind != Symbol::Kind::kUnresolved &&
        operand.symbol.kind != Symbol::Kind::kVariable &&
        operand.symbol.kind != Symbol::Kind::kFunction) {
      return;
    }
    if (const auto label = scopes_.find_label(operand.text, scope)) {
      operand.kind = Operand::Kind::kLabel;
      operand.label = *label;
      operand.symbol = {};
    }
  }

  const Unit& unit_;
  const Function& function_;
  Body body_;
  Lexer in_;
  Scopes scopes_;
  OperandParser operands_;
  std::set<std::string> local_names_;  // nodes do not move: keys of Scopes
  std::vector<std::uint32_t> scope_of_;
  std::vector<PendingTable> pending_tables_;
};

}  // namespace

Result<Body> parse_body(const Module& module, const Function& function) {
  if (!function.has_body || function.unit >= module.units.size()) {
    return Status(Code::kNotFound, "no body of '" + function.name + "'");
  }
  return BodyParser(module, function).parse();
}

}  // namespace farcall::softgpu::ptx
