// What nvcc 13.0 really writes: the texts in data/ come from the .cu files beside them.
#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <set>

#include "tests/gpu_server/software_gpu/ptx/parsing.h"

using namespace farcall;
using namespace farcall::softgpu::ptx;

namespace {

Module nvcc_module(const std::string& name) {
  std::ifstream in(std::string(FARCALL_DATA) + "/" + name);
  REQUIRE_MESSAGE(in.good(), name);
  Result<Module> module = parse_module({std::istreambuf_iterator<char>(in), {}});
  REQUIRE_MESSAGE(module.ok(), module.status().to_string());
  return std::move(module).value();
}

struct Seen {
  std::set<std::string, std::less<>> opcodes, specials, unresolved;
};

void look(const Operand& operand, Seen& seen) {
  for (const Operand& part : operand.parts) look(part, seen);
  const bool named = operand.kind == Operand::Kind::kSymbol ||
                     (operand.kind == Operand::Kind::kAddress && !operand.text.empty());
  if (operand.kind == Operand::Kind::kSpecial) seen.specials.emplace(operand.text);
  if (named && operand.symbol.kind == Symbol::Kind::kUnresolved) {
    seen.unresolved.emplace(operand.text);
  }
}

Seen parse_all(const Module& module) {
  Seen seen;
  for (const Function& function : module.functions) {
    if (!function.has_body) continue;
    Result<Body> body = parse_body(module, function);
    REQUIRE_MESSAGE(body.ok(), body.status().to_string());
    for (const Instruction& instruction : body->instructions) {
      seen.opcodes.emplace(instruction.opcode);
      for (const Operand& operand : instruction.operands) look(operand, seen);
    }
  }
  return seen;
}

}  // namespace

TEST_CASE("a program with most features of CUDA parses and every name resolves") {
  const Module module = nvcc_module("many_features.ptx");
  const Seen seen = parse_all(module);
  CHECK(seen.unresolved.empty());
  CHECK(seen.specials.count("tid.x") == 1);
  CHECK(seen.specials.count("envreg1") == 1);
  CHECK(seen.specials.count("clock64") == 1);
  for (const char* opcode : {"call", "bar", "shfl", "tex", "sust", "atom", "fma"}) {
    CAPTURE(opcode);
    CHECK(seen.opcodes.count(opcode) == 1);
  }
  const Variable& pointers = module.variables[*module.find_variable("ptrs", 0)];
  CHECK(pointers.relocations.size() == 2);
  const Variable& functions = module.variables[*module.find_variable("fns", 0)];
  CHECK(functions.relocations[1].symbol.index == *module.find_function("_Z4sub1i", 0));
  CHECK(module.variables[*module.find_variable("man", 0)].is_managed);
  const Function& printing = module.functions[*module.find_function("_Z2pri", 0)];
  CHECK(printing.max_threads[0] == 256);
  CHECK(printing.min_blocks == 2);
}

TEST_CASE("tensor core, asynchronous copy and barrier code for sm_80 parses") {
  const Module module = nvcc_module("tensor_sm80.ptx");
  const Seen seen = parse_all(module);
  CHECK(module.sm == 80);
  CHECK(seen.unresolved.empty());
  CHECK(seen.opcodes.count("wmma") == 1);
  CHECK(seen.opcodes.count("cp") == 1);
  CHECK(seen.opcodes.count("mbarrier") == 1);
}

TEST_CASE("two units of an -rdc=true program link") {
  std::vector<Module> parts;
  parts.push_back(nvcc_module("rdc_main.ptx"));
  parts.push_back(nvcc_module("rdc_other.ptx"));
  Result<Module> linked = link_modules(std::move(parts));
  REQUIRE_MESSAGE(linked.ok(), linked.status().to_string());
  CHECK(parse_all(linked.value()).unresolved.empty());
  for (const Function& function : linked->functions) {
    CHECK((function.has_body || function.name == "vprintf"));
  }
  for (const Variable& variable : linked->variables) CHECK_FALSE(variable.is_extern);
}

TEST_CASE("every prefix of a real text is parsed or refused, never more") {
  std::ifstream in(std::string(FARCALL_DATA) + "/many_features.ptx");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  for (std::size_t bytes = 0; bytes < text.size(); bytes += 13) {
    Result<Module> module = parse_module(text.substr(0, bytes));
    if (module.ok()) parse_all(module.value());
  }
}
