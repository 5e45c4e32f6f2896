#include <doctest/doctest.h>

#include "tests/gpu_server/software_gpu/ptx/parsing.h"

using namespace farcall;
using namespace farcall::softgpu::ptx;

namespace {

Result<Module> link_two(std::string_view first, std::string_view second) {
  std::vector<Module> parts;
  parts.push_back(module_of(first));
  parts.push_back(module_of(second));
  return link_modules(std::move(parts));
}

}  // namespace

TEST_CASE("an extern of one module becomes the visible definition of another") {
  Result<Module> linked = link_two(R"(
    .extern .global .u32 g;
    .extern .func (.param .b32 r) f(.param .b32 x);
    .global .u64 pointer = generic(g);
    .visible .entry k() { .reg .b64 %rd<2>; .param .b32 a; .param .b32 b;
      mov.u64 %rd1, g; call (a), f, (b); ret; })",
                                   R"(
    .visible .global .u32 g = 5;
    .visible .func (.param .b32 r) f(.param .b32 x) { ret; })");
  REQUIRE_MESSAGE(linked.ok(), linked.status().to_string());
  REQUIRE(linked->variables.size() == 2);
  REQUIRE(linked->functions.size() == 2);
  const std::size_t g = *linked->find_variable("g", 0);
  CHECK(linked->variables[g].init.size() == 4);
  CHECK(linked->find_variable("g", 1) == g);
  const std::size_t pointer = *linked->find_variable("pointer", 0);
  CHECK(linked->variables[pointer].relocations[0].symbol.index == g);
  const Function& entry = linked->functions[*linked->find_function("k", 0)];
  Result<Body> body = parse_body(linked.value(), entry);
  REQUIRE(body.ok());
  CHECK(body->instructions[0].operands[1].symbol.index == g);
  const std::uint32_t f = body->instructions[1].operands[1].symbol.index;
  CHECK(linked->functions[f].has_body);
  CHECK(linked->functions[f].unit == 1);
  CHECK(parse_body(linked.value(), linked->functions[f]).ok());
}

TEST_CASE("private names of two modules do not meet") {
  Result<Module> linked = link_two(".global .u32 mine = 1; .func f() { ret; }",
                                   ".global .u32 mine = 2; .func f() { exit; }");
  REQUIRE(linked.ok());
  CHECK(linked->variables.size() == 2);
  CHECK(linked->find_variable("mine", 0) != linked->find_variable("mine", 1));
  CHECK(linked->find_function("f", 0) != linked->find_function("f", 1));
}

TEST_CASE("two visible definitions clash, weak ones give way") {
  CHECK(link_two(".visible .global .u32 g;", ".visible .global .u32 g;").status().code() ==
        Code::kMalformed);
  Result<Module> linked = link_two(".weak .func f() { ret; } .weak .func w() { ret; }",
                                   ".visible .func f() { exit; } .weak .func w() { exit; }");
  REQUIRE(linked.ok());
  REQUIRE(linked->functions.size() == 2);
  CHECK(linked->functions[*linked->find_function("f", 0)].unit == 1);
  CHECK(linked->functions[*linked->find_function("w", 1)].unit == 0);
}

TEST_CASE("what nobody defines stays extern, once") {
  Result<Module> linked =
      link_two(".extern .func vprintf(.param .b64 a); .extern .shared .b8 s[];",
               ".extern .func vprintf(.param .b64 a); .extern .shared .b8 s[];");
  REQUIRE(linked.ok());
  REQUIRE(linked->functions.size() == 1);
  CHECK(linked->functions[0].is_extern);
  CHECK(linked->find_function("vprintf", 1) == std::size_t{0});
  CHECK(linked->variables.size() == 2);  // dynamic shared memory belongs to each
}

TEST_CASE("linking one module changes nothing, linking none is refused") {
  std::vector<Module> parts;
  parts.push_back(module_of(".visible .global .u32 g; .entry k { ret; }"));
  Result<Module> linked = link_modules(std::move(parts));
  REQUIRE(linked.ok());
  CHECK(linked->find_variable("g", 0) == std::size_t{0});
  CHECK(linked->find_function("k", 0) == std::size_t{0});
  CHECK_FALSE(link_modules({}).ok());
}

TEST_CASE("linked modules can be linked again") {
  std::vector<Module> parts;
  parts.push_back(link_two(".extern .func f();", ".extern .func g();").value());
  parts.push_back(module_of(".visible .func f() { ret; } .visible .func g() { ret; }"));
  Result<Module> linked = link_modules(std::move(parts));
  REQUIRE(linked.ok());
  CHECK(linked->units.size() == 3);
  CHECK(linked->functions.size() == 2);
  CHECK(linked->functions[*linked->find_function("g", 1)].has_body);
}
