#include <doctest/doctest.h>

#include "tests/gpu_server/software_gpu/ptx/parsing.h"

using namespace farcall;
using namespace farcall::softgpu::ptx;
using Kind = Operand::Kind;

TEST_CASE("an instruction is its opcode, its modifiers in order and its operands") {
  const Parsed parsed = body_of(R"(
    .reg .b64 %rd<3>; .reg .f32 %f<5>;
    ld.global.nc.v4.f32 {%f1, %f2, _, %f4}, [%rd1+-16];
    st.shared::cta.f32 [%rd2], %f1;
    ret;
  )");
  REQUIRE(parsed.body.instructions.size() == 3);
  CHECK(parsed[0].opcode == "ld");
  CHECK(parsed[0].mods == std::vector<std::string_view>{"global", "nc", "v4", "f32"});
  CHECK(parsed[0].line == 8);
  REQUIRE(parsed[0].operands.size() == 2);
  CHECK(parsed[0].operands[0].kind == Kind::kVector);
  CHECK(parsed[0].operands[0].parts[2].kind == Kind::kSink);
  CHECK(parsed[0].operands[1].kind == Kind::kAddress);
  CHECK(parsed[0].operands[1].reg == 1);
  CHECK(parsed[0].operands[1].offset == -16);
  CHECK(parsed[1].mods[0] == "shared::cta");
  CHECK(parsed[2].operands.empty());
  CHECK(parsed.body.registers.size() == 8);
  CHECK(parsed.body.registers[0] == Type::kB64);
  CHECK(parsed.body.registers[3] == Type::kF32);
}

TEST_CASE("guards, predicate pairs and negated predicates") {
  const Parsed parsed = body_of(R"(
    .reg .pred %p<4>, q; .reg .b32 %r<6>;
    @%p1 bra DONE;
    @!q mov.u32 %r1, 5;
    setp.lt.and.s32 %p2|%p3, %r1, -7, !%p1;
    shfl.sync.down.b32 %r5|%p1, %r4, 16, 31, -1;
    setp.ne.u32 %p1|_, %r1, 0;
    DONE:
  )");
  CHECK(parsed[0].guard_reg == 1);
  CHECK_FALSE(parsed[0].guard_negated);
  CHECK(parsed[0].operands[0].kind == Kind::kLabel);
  CHECK(parsed[1].guard_reg == 4);
  CHECK(parsed[1].guard_negated);
  CHECK(parsed[2].operands[0].kind == Kind::kPair);
  CHECK(parsed[2].operands[0].parts[1].reg == 3);
  CHECK(parsed[2].operands[2].bits == static_cast<std::uint64_t>(-7));
  CHECK(parsed[2].operands[3].negated);
  CHECK(parsed[3].operands[0].parts[0].reg == 10);
  CHECK(parsed[4].operands[0].parts[1].kind == Kind::kSink);
  CHECK(parsed[4].guard_reg == Operand::kNoRegister);
  CHECK(parsed.body.labels[0].instruction == 5);
}

TEST_CASE("immediates of every notation") {
  const Parsed parsed = body_of(R"(
    .reg .b64 %rd<2>;
    x %rd1, 0xFFFFFFFFFFFFFFFF, 017, 0b11, 42U, -1, ~0, WARP_SZ, 0;
    y %rd1, 0f3F800000, 0d3FF0000000000000, 1.5, 2.5e-1, -0f3F800000, -1.5;
  )");
  const std::vector<Operand>& integers = parsed[0].operands;
  const std::uint64_t wanted[] = {~0ULL, 15, 3, 42, ~0ULL, ~0ULL, 32, 0};
  for (std::size_t i = 0; i < 8; ++i) {
    CHECK(integers[i + 1].kind == Kind::kImmediate);
    CHECK(integers[i + 1].bits == wanted[i]);
  }
  const std::vector<Operand>& floats = parsed[1].operands;
  CHECK(floats[1].float_bytes == 4);
  CHECK(floats[1].bits == 0x3f800000);
  CHECK(floats[2].float_bytes == 8);
  CHECK(floats[3].bits == 0x3ff8000000000000);
  CHECK(floats[4].bits == 0x3fd0000000000000);
  CHECK(floats[5].bits == 0xbf800000);
  CHECK(floats[6].bits == 0xbff8000000000000);
}

TEST_CASE("names resolve to parameters, locals, variables, functions and special registers") {
  Module module = module_of(".global .u32 g; .func f() { ret; }\n" + entry_with(R"(
    .reg .b64 %rd<4>; .reg .b32 %r<2>;
    .local .align 8 .b8 depot[64];
    .shared .f32 tile[32];
    ld.param.u64 %rd1, [k_param_0];
    ld.param.u32 %r1, [k_param_1+8];
    mov.u64 %rd2, depot;
    mov.u64 %rd2, tile+4;
    mov.u64 %rd3, g;
    mov.u64 %rd3, f;
    mov.u32 %r1, %tid.x;
    mov.u32 %r1, %envreg2;
    mov.u64 %rd1, nothing;
    ld.global.u32 %r1, [g+-4];
    ld.global.u32 %r1, [256];
  )"));
  const Parsed parsed = body_in(std::move(module), "k");
  CHECK(parsed[0].operands[1].symbol.kind == Symbol::Kind::kParam);
  CHECK(parsed[1].operands[1].symbol.index == 1);
  CHECK(parsed[1].operands[1].offset == 8);
  CHECK(parsed[2].operands[1].symbol.kind == Symbol::Kind::kLocal);
  CHECK(parsed.body.variables[0].space == Space::kLocal);
  CHECK(parsed[3].operands[1].symbol.index == 1);
  CHECK(parsed[3].operands[1].offset == 4);
  CHECK(parsed.body.variables[1].bytes == 128);
  CHECK(parsed[4].operands[1].symbol.kind == Symbol::Kind::kVariable);
  CHECK(parsed[5].operands[1].symbol.kind == Symbol::Kind::kFunction);
  CHECK(parsed[6].operands[1].kind == Kind::kSpecial);
  CHECK(parsed[6].operands[1].text == "tid.x");
  CHECK(parsed[7].operands[1].text == "envreg2");
  CHECK(parsed[8].operands[1].symbol.kind == Symbol::Kind::kUnresolved);
  CHECK(parsed[8].operands[1].text == "nothing");
  CHECK(parsed[9].operands[1].symbol.kind == Symbol::Kind::kVariable);
  CHECK(parsed[9].operands[1].offset == -4);
  CHECK(parsed[10].operands[1].reg == Operand::kNoRegister);
  CHECK(parsed[10].operands[1].text.empty());
  CHECK(parsed[10].operands[1].offset == 256);
}

TEST_CASE("nested scopes have registers and labels of their own") {
  const Parsed parsed = body_of(R"(
    .reg .b32 %r<3>;
    { .reg .pred p; .reg .u32 t; L: @p add.u32 t, %r1, 1; bra L; bra OUT; }
    { .reg .pred p; .reg .f32 t; L: @p add.u32 t, %r1, 1; bra L; }
    OUT: ret;
  )");
  CHECK(parsed[0].operands[0].reg == 4);
  CHECK(parsed[3].operands[0].reg == 6);
  CHECK(parsed[0].guard_reg != parsed[3].guard_reg);
  CHECK(parsed.body.labels[parsed[1].operands[0].label].instruction == 0);
  CHECK(parsed.body.labels[parsed[2].operands[0].label].name == "OUT");
  CHECK(parsed.body.labels[parsed[4].operands[0].label].instruction == 3);
  CHECK(parsed.body.registers[6] == Type::kF32);
}

TEST_CASE("an inner name hides an outer one only inside") {
  const Parsed parsed = body_of(R"(
    .reg .b32 a;
    { .reg .b64 a; mov.b64 a, 1; }
    mov.b32 a, 1;
  )");
  CHECK(parsed[0].operands[0].reg == 1);
  CHECK(parsed[1].operands[0].reg == 0);
}

TEST_CASE("calls always have returns, target and arguments") {
  Module module =
      module_of(R"(.extern .func (.param .b32 r) vprintf(.param .b64 a);)" + entry_with(R"(
    .reg .b64 %rd<3>;
    { .param .b64 param0; .param .b32 retval0;
      st.param.b64 [param0], %rd1;
      call.uni (retval0), vprintf, (param0); }
    { .param .b64 param0;
      call vprintf, (param0); }
    call.uni vprintf;
    P: .callprototype (.param .b32 _) _ (.param .b64 _, .param .align 8 .b8 _[16]) .noreturn;
    { .param .b64 param0; .param .b32 retval0;
      call (retval0), %rd2, (param0), P; }
  )"));
  const Parsed parsed = body_in(std::move(module), "k");
  for (std::size_t i : {1u, 2u, 3u, 4u}) {
    REQUIRE(parsed[i].opcode == "call");
    REQUIRE(parsed[i].operands.size() >= 3);
    CHECK(parsed[i].operands[0].kind == Kind::kList);
    CHECK(parsed[i].operands[2].kind == Kind::kList);
  }
  CHECK(parsed[1].operands[0].parts.size() == 1);
  CHECK(parsed[1].operands[1].symbol.kind == Symbol::Kind::kFunction);
  CHECK(parsed[1].operands[2].parts[0].symbol.index == 0);
  CHECK(parsed[2].operands[2].parts[0].symbol.index == 2);
  CHECK(parsed[3].operands[2].parts.empty());
  CHECK(parsed[4].operands[1].kind == Kind::kRegister);
  CHECK(parsed[4].operands[3].symbol.kind == Symbol::Kind::kPrototype);
  CHECK(parsed.body.prototypes[0].params[1].bytes == 16);
  CHECK(parsed.body.prototypes[0].no_return);
}

TEST_CASE("branch tables name labels that follow them") {
  const Parsed parsed = body_of(R"(
    .reg .b32 %r<2>;
    TS: .branchtargets A, B, A;
    brx.idx %r1, TS;
    A: ret;
    B: exit;
  )");
  CHECK(parsed[0].operands[1].symbol.kind == Symbol::Kind::kTable);
  const Table& table = parsed.body.tables[0];
  REQUIRE(table.labels.size() == 3);
  CHECK(parsed.body.labels[table.labels[1]].name == "B");
  CHECK(table.labels[0] == table.labels[2]);
}

TEST_CASE("texture coordinates, vector registers and byte selectors") {
  const Parsed parsed = body_of(R"(
    .reg .b64 %rd<2>; .reg .f32 %f<6>; .reg .v4 .f32 %v; .reg .b32 %r<3>;
    tex.2d.v4.f32.f32 {%f1, %f2, %f3, %f4}, [%rd1, {%f4, %f5}];
    mov.f32 %f1, %v.z;
    mov.v4.f32 %v, {%f1, %f2, %f3, %f4};
    vadd.u32.u32.u32 %r1, %r2.b3, %r1.h1;
  )");
  const Operand& texture = parsed[0].operands[1];
  CHECK(texture.kind == Kind::kAddress);
  REQUIRE(texture.parts.size() == 2);
  CHECK(texture.parts[0].reg == 1);
  CHECK(texture.parts[1].parts[1].reg == 7);
  CHECK(parsed[1].operands[1].reg == 8 + 2);
  REQUIRE(parsed[2].operands[0].kind == Kind::kVector);
  CHECK(parsed[2].operands[0].parts[3].reg == 8 + 3);
  CHECK(parsed[3].operands[1].selector == "b3");
  CHECK(parsed[3].operands[2].selector == "h1");
}

TEST_CASE("numbered registers whose prefix ends in a digit are told apart") {
  const Parsed parsed = body_of(R"(
    .reg .b32 %r<20>; .reg .b64 %r1_<3>; .reg .f32 %f1<4>;
    x %r19, %r1_2, %f13, %r1;
  )");
  CHECK(parsed[0].operands[0].reg == 19);
  CHECK(parsed[0].operands[1].reg == 22);
  CHECK(parsed[0].operands[2].reg == 26);
  CHECK(parsed[0].operands[3].reg == 1);
}

TEST_CASE("register parameters are registers of the body") {
  const Parsed parsed = body_in(
      module_of(".func (.reg .b32 out) f(.reg .b32 in, .param .b32 p) { mov.b32 out, in; ret; }"),
      "f");
  CHECK(parsed.body.return_registers == std::vector<std::int32_t>{0});
  CHECK(parsed.body.param_registers == std::vector<std::int32_t>{1, -1});
  CHECK(parsed[0].operands[1].reg == 1);
}

TEST_CASE("locations and pragmas inside a body are passed over") {
  const Parsed parsed = body_of(R"(
    .loc 1 2 3, function_name $L__info_string0, inlined_at 1 4 5
    ret;
    .pragma "nounroll";
    .loc 1 5 6
  )");
  CHECK(parsed.body.instructions.size() == 1);
}

TEST_CASE("malformed bodies are refused with the line") {
  CHECK(body_error("\n\nx [1.5];").text().find("PTX line 8:") == 0);
  for (const char* text : {"add.s32 1",
                           "add.s32 1,;",
                           "@ ret;",
                           "@%q ret;",
                           "@!5 ret;",
                           ".reg .b32 %r<;",
                           ".reg .b32 %r<4;",
                           "x [1;",
                           "x {1;}",
                           "x (1;",
                           "x [{1}];",
                           "x [1.5];",
                           "x 1|;",
                           "x !5x;",
                           "x \"string\";",
                           "L: L: ret;",
                           ".local .u32 a; .local .u32 a;",
                           "B: .branchtargets C;",
                           ".global .u32 x;",
                           "x [a+b];",
                           "x -a;",
                           "x ~1.5;",
                           "x !a;",
                           "P: .callprototype ;",
                           "x 0x;",
                           "x 1e;",
                           ".local .u64 a = b;",
                           "x {{{{{{{{1}}}}}}}};"}) {
    CAPTURE(text);
    CHECK_FALSE(body_error(text).ok());
  }
}

TEST_CASE("sizes that a hostile body claims are bounded") {
  CHECK(body_error(".reg .b32 %r<4000000000>;").code() == Code::kOverQuota);
  std::string registers;
  for (int i = 0; i < 2000; ++i) registers += ".reg .b32 %r" + std::to_string(i) + "<1000>;";
  CHECK(body_error(registers).code() == Code::kOverQuota);
  CHECK(body_error(std::string(1000, '{') + std::string(1000, '}')).code() == Code::kOverQuota);
  std::string scopes;
  for (int i = 0; i < 300000; ++i) scopes += "{}";
  CHECK(body_error(scopes).code() == Code::kOverQuota);
}

TEST_CASE("a declaration has no body to parse") {
  const Module module = module_of(".extern .func f();");
  CHECK(parse_body(module, module.functions[0]).status().code() == Code::kNotFound);
}
