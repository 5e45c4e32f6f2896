// How it works: the input is PTX text. It is parsed, linked with itself, and every body is parsed;
// what comes out must keep the promises of ast.h: indices in range, links between units valid.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "gpu_server/software_gpu/ptx/parser.h"

using namespace farcall;
using namespace farcall::softgpu::ptx;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check_symbol(const Module& module, const Function* function, const Body* body,
                  const Symbol& symbol) {
  switch (symbol.kind) {
    case Symbol::Kind::kUnresolved: return;
    case Symbol::Kind::kVariable: return require(symbol.index < module.variables.size());
    case Symbol::Kind::kFunction: return require(symbol.index < module.functions.size());
    default: break;
  }
  require(body != nullptr);
  if (symbol.kind == Symbol::Kind::kLocal) require(symbol.index < body->variables.size());
  if (symbol.kind == Symbol::Kind::kParam) require(symbol.index < function->params.size());
  if (symbol.kind == Symbol::Kind::kReturn) require(symbol.index < function->returns.size());
  if (symbol.kind == Symbol::Kind::kTable) require(symbol.index < body->tables.size());
  if (symbol.kind == Symbol::Kind::kPrototype) require(symbol.index < body->prototypes.size());
}

void check_operand(const Module& module, const Function& function, const Body& body,
                   const Operand& operand) {
  for (const Operand& part : operand.parts) check_operand(module, function, body, part);
  require(operand.reg >= -1 && operand.reg < static_cast<std::int32_t>(body.registers.size()));
  if (operand.kind == Operand::Kind::kRegister) require(operand.reg >= 0);
  if (operand.kind == Operand::Kind::kLabel) require(operand.label < body.labels.size());
  if (operand.kind == Operand::Kind::kPair) require(operand.parts.size() == 2);
  check_symbol(module, &function, &body, operand.symbol);
}

void check_bodies(const Module& module) {
  for (const Function& function : module.functions) {
    Result<Body> body = parse_body(module, function);
    if (!body.ok()) continue;
    require(body->param_registers.size() == function.params.size());
    for (const Label& label : body->labels) {
      require(label.instruction <= body->instructions.size());
    }
    for (const Table& table : body->tables) {
      for (std::uint32_t label : table.labels) require(label < body->labels.size());
    }
    for (const Instruction& instruction : body->instructions) {
      require(instruction.guard_reg < static_cast<std::int32_t>(body->registers.size()));
      for (const Operand& operand : instruction.operands) {
        check_operand(module, function, body.value(), operand);
      }
    }
  }
}

void check_module(const Module& module) {
  for (const Variable& variable : module.variables) {
    require(variable.init.size() <= variable.bytes);
    for (const Relocation& relocation : variable.relocations) {
      require(relocation.offset + relocation.bytes <= variable.init.size());
      check_symbol(module, nullptr, nullptr, relocation.symbol);
    }
  }
  for (const Unit& unit : module.units) {
    for (const auto& [name, symbol] : unit.names) check_symbol(module, nullptr, nullptr, symbol);
  }
  check_bodies(module);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  Result<Module> module = parse_module(text);
  if (!module.ok()) return 0;
  check_module(module.value());
  std::vector<Module> parts;
  parts.push_back(std::move(module).value());
  parts.push_back(std::move(parse_module(text)).value());
  Result<Module> linked = link_modules(std::move(parts));
  if (linked.ok()) check_module(linked.value());
  return 0;
}
