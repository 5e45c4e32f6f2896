// wmma, ldmatrix and stmatrix: matrices that come from memory and go there, against plain sums.
#include <doctest/doctest.h>

#include <cstring>
#include <random>

#include "tests/gpu_server/software_gpu/exec/matrices.h"

namespace farcall::softgpu::test {
namespace {

struct WmmaForm {
  const char* shape;
  const char* type;      // of a and b
  const char* sum_type;  // of c and d
  const char* mma_types;
  Product p;
};

const WmmaForm kForms[] = {
    {"m16n16k16",
     "f16",
     "f32",
     "f32.f32",
     {"", 16, 16, 16, Element::kF16, Element::kF16, Element::kF32, Element::kF32, 8, 8}},
    {"m16n16k16",
     "f16",
     "f16",
     "f16.f16",
     {"", 16, 16, 16, Element::kF16, Element::kF16, Element::kF16, Element::kF16, 8, 8}},
    {"m16n16k16",
     "bf16",
     "f32",
     "f32.bf16.bf16.f32",
     {"", 16, 16, 16, Element::kBf16, Element::kBf16, Element::kF32, Element::kF32, 4, 4}},
    {"m16n16k16",
     "u8",
     "s32",
     "s32.u8.u8.s32",
     {"", 16, 16, 16, Element::kU8, Element::kU8, Element::kS32, Element::kS32, 2, 2}},
    {"m32n8k16",
     "bf16",
     "f32",
     "f32.bf16.bf16.f32",
     {"", 32, 8, 16, Element::kBf16, Element::kBf16, Element::kF32, Element::kF32, 8, 2}},
    {"m8n32k16",
     "s8",
     "s32",
     "s32.s8.s8.s32",
     {"", 8, 32, 16, Element::kS8, Element::kS8, Element::kS32, Element::kS32, 1, 4}},
    {"m16n16k8",
     "tf32",
     "f32",
     "f32.tf32.tf32.f32",
     {"", 16, 16, 8, Element::kTf32, Element::kTf32, Element::kF32, Element::kF32, 4, 4}},
    {"m8n8k4",
     "f64",
     "f64",
     "f64.f64.f64.f64",
     {"", 8, 8, 4, Element::kF64, Element::kF64, Element::kF64, Element::kF64, 1, 1}},
    {"m8n8k32",
     "u4",
     "s32",
     "s32.u4.u4.s32",
     {"", 8, 8, 32, Element::kU4, Element::kU4, Element::kS32, Element::kS32, 1, 1}},
};

struct Way {
  bool by_rows;
  Isa isa;
};
const Way kWays[] = {{true, Isa::kBaseline}, {false, Isa::kBaseline}, {true, Isa::kAvx2},
                     {false, Isa::kAvx2},    {true, Isa::kAvx512},    {false, Isa::kAvx512}};

// Writes a matrix to memory, by rows or columns, with `stride` elements from one to the next.
void put(std::byte* to, const std::vector<int>& values, Element element, u32 columns, bool by_rows,
         u32 stride) {
  const u32 width = element_bits(element);
  for (u32 n = 0; n < values.size(); ++n) {
    const u32 row = n / columns, column = n % columns;
    const u64 bit = u64{by_rows ? row * stride + column : column * stride + row} * width;
    u64 value = encoded(element, values[n]) << (bit % 8);
    u64 old = 0;
    std::memcpy(&old, to + bit / 8, width < 8 ? 1 : width / 8);
    value |= width < 8 ? old : 0;
    std::memcpy(to + bit / 8, &value, width < 8 ? 1 : width / 8);
  }
}

// Twice: the second time the memory is known, which whole warps have quicker ways for.
TEST_CASE("wmma loads by rows and columns, multiplies and stores") {
  std::mt19937 random(4);
  for (const WmmaForm& form : kForms) {
    for (const auto& [by_rows, isa] : kWays) {
      const Product& p = form.p;
      Device device;
      auto* a = device.array<std::byte>(16384);
      auto* b = device.array<std::byte>(16384);
      auto* c = device.array<std::byte>(16384);
      auto* d = device.array<std::byte>(16384);
      const auto va = matrix(random, p.m * p.k, p.a), vb = matrix(random, p.k * p.n, p.b);
      const auto vc = matrix(random, p.m * p.n, p.c);
      put(a, va, p.a, p.k, by_rows, 64);
      put(b, vb, p.b, p.n, !by_rows, 64);
      put(c, vc, p.c, p.n, by_rows, 64);
      const bool wide = p.a == Element::kF64;
      const std::string prefix = wide ? "%q" : "%r";
      const std::string shape = form.shape, own = by_rows ? "row" : "col",
                        other = by_rows ? "col" : "row";
      const u32 sums = p.c == Element::kF16 ? p.m * p.n / 64 : p.m * p.n / 32;
      const auto held = [&](u32 first, u32 count) { return several(prefix.c_str(), first, count); };
      const std::string body =
          ".reg .b32 %r<64>; .reg .f64 %q<64>; .reg .b64 %rd<8>; .reg .b32 %s, %n; .reg .pred %p;\n"
          ".shared .align 16 .b8 room[16384];\n"
          " ld.param.u64 %rd1, [a]; ld.param.u64 %rd2, [b]; ld.param.u64 %rd3, [c];\n"
          " ld.param.u64 %rd4, [d]; mov.u32 %s, 64; mov.u32 %n, 0;\n"
          "L: wmma.load.a.sync.aligned." +
          own + "." + shape + ".global." + form.type + " " + held(0, p.a_registers) +
          ", [%rd1], %s;\n wmma.load.b.sync.aligned." + other + "." + shape + "." + form.type +
          " " + held(16, p.b_registers) + ", [%rd2], %s;\n wmma.load.c.sync.aligned." + own + "." +
          shape + ".global." + form.sum_type + " " + held(32, sums) +
          ", [%rd3], %s;\n wmma.mma.sync.aligned." + own + "." + other + "." + shape + "." +
          form.mma_types + " " + held(32, sums) + ", " + held(0, p.a_registers) + ", " +
          held(16, p.b_registers) + ", " + held(32, sums) + ";\n wmma.store.d.sync.aligned." +
          other + "." + shape + ".global." + form.sum_type + " [%rd4], " + held(32, sums) +
          ", %s;\n add.u32 %n, %n, 1; setp.lt.u32 %p, %n, 2; @%p bra L;";
      const auto program = load(
          device, module_of(".param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d", body));
      const Fault fault = run(device, *program, "k", {}, pack(a, b, c, d), isa);
      REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
      std::vector<std::byte> want(16384);
      put(want.data(), expected(p, va, vb, vc), p.d, p.n, !by_rows, 64);
      CHECK_MESSAGE(std::equal(want.begin(), want.end(), d), form.shape << " " << form.mma_types);
    }
  }
}

TEST_CASE("ldmatrix takes rows from where lanes point, as they are or transposed; stmatrix puts") {
  Device device;
  u32* out = device.array<u32>(32 * 8 + 256);
  const std::string body =
      ".reg .b32 %r<32>; .reg .b64 %rd<4>; .shared .align 16 .b8 room[1024];\n"
      " ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; mov.u32 %r2, room;\n"
      // Element n of the room is n; lane l points at row 31 - l.
      " shl.b32 %r3, %r1, 4; add.u32 %r4, %r2, %r3; mul.lo.u32 %r5, %r1, 8; mov.u32 %r6, 0;\n"
      "L: shl.b32 %r7, %r6, 1; add.u32 %r7, %r7, %r5; add.u32 %r8, %r7, 1; shl.b32 %r8, %r8, 16;\n"
      " or.b32 %r7, %r7, %r8; shl.b32 %r9, %r6, 2; add.u32 %r9, %r9, %r4;\n"
      " st.shared.u32 [%r9], %r7; add.u32 %r6, %r6, 1; .reg .pred %p; setp.lt.u32 %p, %r6, 4;\n"
      " @%p bra L; bar.sync 0; sub.u32 %r10, 31, %r1; shl.b32 %r10, %r10, 4;\n"
      " add.u32 %r10, %r2, %r10;\n"
      " ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r11, %r12, %r13, %r14}, [%r10];\n"
      " ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%r15, %r16}, [%r10];\n"
      " movmatrix.sync.aligned.m8n8.trans.b16 %r17, %r11;\n"
      " bar.sync 0; stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r4], {%r17}; bar.sync 0;\n"
      " ld.shared.u32 %r18, [%r4];\n mul.wide.u32 %rd2, %r1, 32; add.s64 %rd1, %rd1, %rd2;\n"
      " st.global.v4.u32 [%rd1], {%r11, %r12, %r13, %r14};\n"
      " st.global.v4.u32 [%rd1+16], {%r15, %r16, %r17, %r18};";
  const auto program = load(device, module_of(".param .u64 out", body));
  const Fault fault = run(device, *program, "k", {}, pack(out));
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  const auto element = [](u32 square, u32 row, u32 column) {
    return (31 - (square * 8 + row)) * 8 + column;
  };
  const auto pair = [](u32 low, u32 high) { return low | high << 16; };
  for (u32 lane = 0; lane < 32; ++lane) {
    const u32* got = out + lane * 8;
    const u32 row = lane / 4, column = lane % 4 * 2;
    for (u32 n = 0; n < 4; ++n) {
      CHECK(got[n] == pair(element(n, row, column), element(n, row, column + 1)));
    }
    const u32 crossed = pair(element(0, column, row), element(0, column + 1, row));
    CHECK(got[4] == crossed);
    CHECK(got[6] == crossed);
    if (lane < 8) CHECK(got[7] == pair(element(0, 0, lane), element(0, 1, lane)));
  }
}

TEST_CASE("a matrix outside memory or not aligned is a fault") {
  Device device;
  auto* memory = device.array<u32>(1024);
  const auto outcome = [&](const std::string& instruction) {
    const auto program =
        load(device, module_of(".param .u64 p",
                               ".reg .b32 %r<32>; .reg .f32 %f<32>; .reg .b64 %rd<4>;\n"
                               ".shared .align 16 .b8 room[64];\n"
                               " ld.param.u64 %rd1, [p]; mov.u32 %r20, 16; mov.u32 %r21, room;\n" +
                                   instruction));
    return run(device, *program, "k", {}, pack(memory)).kind;
  };
  const std::string eight = "{%f1, %f2, %f3, %f4, %f5, %f6, %f7, %f8}";
  const std::string load_c = "wmma.load.c.sync.aligned.row.m16n16k16.";
  CHECK(outcome(load_c + "global.f32 " + eight + ", [%rd1], %r20;") == FaultKind::kNone);
  CHECK(outcome("mov.u32 %r20, -4;" + load_c + "global.f32 " + eight + ", [%rd1], %r20;") ==
        FaultKind::kIllegalAddress);
  CHECK(outcome(load_c + "global.f32 " + eight + ", [%rd1+2], %r20;") == FaultKind::kMisaligned);
  CHECK(outcome(load_c + "shared.f32 " + eight + ", [%r21], %r20;") == FaultKind::kIllegalAddress);
  CHECK(outcome("wmma.store.d.sync.aligned.row.m16n16k16.f32 [%rd1+4096], " + eight + ", %r20;") ==
        FaultKind::kIllegalAddress);
  const std::string rows = "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, [%r21";
  CHECK(outcome(rows + "];") == FaultKind::kNone);
  CHECK(outcome(rows + "+56];") == FaultKind::kMisaligned);
  CHECK(outcome(rows + "+128];") == FaultKind::kIllegalAddress);
}

}  // namespace
}  // namespace farcall::softgpu::test
