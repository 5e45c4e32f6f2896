#include <doctest/doctest.h>

#include <cstring>

#include "tests/gpu_server/software_gpu/ptx/parsing.h"
#include "transport/base/limits.h"

using namespace farcall;
using namespace farcall::softgpu::ptx;

namespace {

const Variable& variable(const Module& module, std::string_view name) {
  const auto found = module.find_variable(name, 0);
  REQUIRE(found.has_value());
  return module.variables[*found];
}

template <class T>
T value_at(const Variable& variable, std::size_t index) {
  T value;
  REQUIRE((index + 1) * sizeof(T) <= variable.init.size());
  std::memcpy(&value, variable.init.data() + index * sizeof(T), sizeof value);
  return value;
}

}  // namespace

TEST_CASE("version, target and address size are read, debug options after the target are not") {
  Result<Module> module =
      parse_module("//\n// head\n//\n.version 8.7\n.target sm_90a, debug\n.address_size 64\n");
  REQUIRE(module.ok());
  CHECK(module->units[0].version_major == 8);
  CHECK(module->units[0].version_minor == 7);
  CHECK(module->sm == 90);
  CHECK(parse_module(".version 9.0 .target sm_75 .address_size 32").status().code() ==
        Code::kUnsupported);
  CHECK(parse_module("hello").status().code() == Code::kMalformed);
  CHECK(parse_module("").status().code() == Code::kMalformed);
}

TEST_CASE("text behind a NUL is no text") {
  std::string text = ".version 9.0\n.target sm_90\n";
  text += '\0';
  text += "junk";
  CHECK(parse_module(text).ok());
}

TEST_CASE("variables keep space, type, size, alignment and linkage") {
  const Module module = module_of(R"(
    .visible .global .align 8 .b8 table[40];
    .const .f32 three[3];
    .global .attribute(.managed) .align 4 .u32 man = 7;
    .extern .shared .align 16 .b8 dyn[];
    .extern .global .u32 elsewhere;
    .weak .global .v4 .f32 vec[2];
    .shared .align 4 .b8 tile[2][3][4];
    .const[2] .s16 banked = -2, second = 0x10;
    .global .texref tex;
  )");
  CHECK(variable(module, "table").bytes == 40);
  CHECK(variable(module, "table").align == 8);
  CHECK(variable(module, "table").is_visible);
  CHECK(variable(module, "table").init.empty());
  CHECK(variable(module, "three").space == Space::kConst);
  CHECK(variable(module, "three").bytes == 12);
  CHECK(variable(module, "three").align == 4);
  CHECK(variable(module, "man").is_managed);
  CHECK(value_at<std::uint32_t>(variable(module, "man"), 0) == 7);
  CHECK(variable(module, "dyn").unbounded);
  CHECK(variable(module, "dyn").is_extern);
  CHECK(variable(module, "dyn").space == Space::kShared);
  CHECK(variable(module, "elsewhere").is_extern);
  CHECK(variable(module, "vec").is_weak);
  CHECK(variable(module, "vec").bytes == 32);
  CHECK(variable(module, "vec").align == 16);
  CHECK(variable(module, "tile").bytes == 24);
  CHECK(value_at<std::int16_t>(variable(module, "banked"), 0) == -2);
  CHECK(value_at<std::int16_t>(variable(module, "second"), 0) == 16);
  CHECK(variable(module, "tex").type == Type::kTexref);
}

TEST_CASE("initialisers hold numbers of every notation") {
  const Module module = module_of(R"(
    .global .u32 numbers[6] = {10, 0x1F, 017, 0b101, 42U, -1};
    .global .f32 floats[4] = {0f3F800000, 0d4000000000000000, 2.5, 3};
    .global .f64 doubles[3] = {0d3FF0000000000000, -1.5e1, 0f40000000};
    .global .u16 rows[2][3] = {{1}, {2, 3}};
    .global .b8 open[] = {1, 2, 3};
  )");
  const Variable& numbers = variable(module, "numbers");
  const std::uint32_t wanted[] = {10, 31, 15, 5, 42, 0xffffffff};
  for (std::size_t i = 0; i < 6; ++i) CHECK(value_at<std::uint32_t>(numbers, i) == wanted[i]);
  const Variable& floats = variable(module, "floats");
  CHECK(value_at<float>(floats, 0) == 1.0F);
  CHECK(value_at<float>(floats, 1) == 2.0F);
  CHECK(value_at<float>(floats, 2) == 2.5F);
  CHECK(value_at<float>(floats, 3) == 3.0F);
  const Variable& doubles = variable(module, "doubles");
  CHECK(value_at<double>(doubles, 0) == 1.0);
  CHECK(value_at<double>(doubles, 1) == -15.0);
  CHECK(value_at<double>(doubles, 2) == 2.0);
  const Variable& rows = variable(module, "rows");
  const std::uint16_t cells[] = {1, 0, 0, 2, 3};
  for (std::size_t i = 0; i < 5; ++i) CHECK(value_at<std::uint16_t>(rows, i) == cells[i]);
  CHECK(variable(module, "open").bytes == 3);
}

TEST_CASE("addresses in initialisers become relocations, resolved even before their target") {
  const Module module = module_of(R"(
    .global .u64 list[4] = {generic(target), generic(target)+12, f, target-4};
    .global .b8 bytes[3] = {0xFF(generic(target)), 0xFF00(generic(target)+1), 7};
    .global .u64 lost = nowhere;
    .global .u32 target[8];
    .func f() { ret; }
  )");
  const Variable& list = variable(module, "list");
  REQUIRE(list.relocations.size() == 4);
  CHECK(list.relocations[0].generic);
  CHECK(list.relocations[0].symbol.index == *module.find_variable("target", 0));
  CHECK(list.relocations[1].offset == 8);
  CHECK(list.relocations[1].addend == 12);
  CHECK(list.relocations[2].symbol.kind == Symbol::Kind::kFunction);
  CHECK_FALSE(list.relocations[3].generic);
  CHECK(list.relocations[3].addend == -4);
  const Variable& bytes = variable(module, "bytes");
  REQUIRE(bytes.relocations.size() == 2);
  CHECK(bytes.relocations[0].bytes == 1);
  CHECK(bytes.relocations[1].shift == 8);
  CHECK(bytes.relocations[1].addend == 1);
  CHECK(bytes.init.size() == 3);
  CHECK(variable(module, "lost").relocations[0].symbol.kind == Symbol::Kind::kUnresolved);
}

TEST_CASE("an entry has parameters with layout, and directives") {
  const Module module = module_of(R"(
    .visible .entry k(.param .u8 a, .param .u64 .ptr .global .align 1 b,
        .param .align 16 .b8 c[20], .param .f32 d)
    .maxntid 256, 2
    .reqntid 32, 4, 1
    .minnctapersm 2
    .maxnreg 40
    .reqnctapercluster 2
    .pragma "nounroll";
    .explicitcluster
    .maxclusterrank 8
    { ret; }
    .entry bare { exit; }
  )");
  const Function& k = module.functions[0];
  CHECK(k.is_entry);
  CHECK(k.is_visible);
  REQUIRE(k.params.size() == 4);
  CHECK(k.params[1].is_pointer);
  CHECK(k.params[1].align == 8);
  CHECK(k.params[2].align == 16);
  CHECK(k.params[2].bytes == 20);
  CHECK(k.param_bytes == 40);  // 0, 8, 16 … 36, 36
  CHECK(k.max_threads[0] == 256);
  CHECK(k.max_threads[1] == 2);
  CHECK(k.max_threads[2] == 1);
  CHECK(k.required_threads[1] == 4);
  CHECK(k.required_cluster[0] == 2);
  CHECK(k.explicit_cluster);
  CHECK(k.min_blocks == 2);
  CHECK(k.max_registers == 40);
  CHECK(k.has_body);
  CHECK(module.functions[1].params.empty());
}

TEST_CASE("a declaration and its definition are one function") {
  const Module module = module_of(R"(
    .visible .func (.param .b32 r) f(.param .b32 x);
    .func (.param .b32 r) f(.param .b32 x) { ret; }
    .extern .func (.param .b32 r) vprintf(.param .b64 a, .param .b64 b);
    .func stop(.param .b32 _) .noreturn;
    .alias g, f;
  )");
  REQUIRE(module.functions.size() == 3);
  CHECK(module.functions[0].has_body);
  CHECK(module.functions[0].is_visible);
  CHECK(module.functions[0].returns.size() == 1);
  CHECK(module.functions[1].is_extern);
  CHECK(module.functions[2].no_return);
  CHECK(module.find_function("g", 0) == module.find_function("f", 0));
  CHECK(module.find_function("h", 0) == std::nullopt);
  CHECK(module.find_variable("f", 0) == std::nullopt);
}

TEST_CASE("files, locations, sections, pragmas and comments are passed over") {
  const Module module = module_of(R"(
    .file 1 "/a/b.cu", 12, 34
    .pragma "nounroll", "other";
    /* two
       lines } */
    .section .debug_str
    {
      $L__info_string0: .b8 104,105,0 // }
      .b64 .debug_abbrev
    }
    @@DWARF .byte 0
    .entry k { .loc 1 2 3 /* } */ ret; // }
    }
    .section .debug_macinfo { }
  )");
  CHECK(module.functions.size() == 1);
}

TEST_CASE("malformed modules are refused with the line") {
  CHECK(module_error(".global .u32 a\n.global .u32 b;").text().find("PTX line 5") == 0);
  for (const char* text : {".global .u32 a; .global .u32 a;",
                           ".global .u99 a;",
                           ".global .align 3 .u32 a;",
                           ".global .u32 a[2] = {1, 2, 3};",
                           ".global .u32 a = {1;",
                           ".global .u32 a = ;",
                           ".entry k {",
                           ".entry k { } .entry k { }",
                           ".entry { }",
                           ".entry k(.u32 a) { }",
                           ".entry k(.param .u32 a { }",
                           ".func f; .global .u32 f;",
                           ".wrong",
                           "{ }",
                           ".global .u32 a = 0xFF(b);",
                           ".global .b8 a = 0xFFFF(b);",
                           ".alias a, b;",
                           ".pragma \"unclosed\n;",
                           ".section .x {",
                           ".global .u32 a = 99999999999999999999;",
                           ".global .f32 a = 0f3F80;",
                           ".global .u32 a[-1] = {1};",
                           ".maxntid 3"}) {
    CAPTURE(text);
    CHECK_FALSE(module_error(text).ok());
  }
}

TEST_CASE("sizes that a hostile text claims are bounded") {
  CHECK(module_error(".global .b8 a[9999999999999999];").code() == Code::kOverQuota);
  CHECK(module_error(".global .b8 a[4294967296][4294967296];").code() == Code::kOverQuota);
  CHECK(module_error(".entry k(.param .b8 a[2000000]) { }").code() == Code::kOverQuota);
  CHECK(module_error(".entry k(.param .b8 a[900000], .param .b8 b[900000]) { }").code() ==
        Code::kOverQuota);
  std::string deep = ".global .b8 a[4] = ";
  for (unsigned i = 0; i < 100000; ++i) deep += '{';
  CHECK_FALSE(module_error(deep).ok());
  // Few characters must not become many zeros.
  std::string rows = ".global .b8 a[1000][1000000] = {";
  for (int i = 0; i < 1000; ++i) rows += "{1},";
  CHECK_FALSE(module_error(rows + "{1}};").ok());
}
