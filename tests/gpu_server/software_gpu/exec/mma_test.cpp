// mma against plain sums, with operands laid out in registers by the tables of the manual.
#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include "tests/gpu_server/software_gpu/exec/matrices.h"

namespace farcall::softgpu::test {
namespace {

// The element that part `part` of register `reg` of a lane holds, as the manual's tables say.
u32 manual_a(const Product& p, u32 lane, u32 reg, u32 part, u32 parts) {
  const u32 row = lane / 4 + (p.m == 16 && (reg & 1) != 0 ? 8 : 0);
  const u32 block = p.m == 16 ? reg / 2 : reg;
  return row * p.k + block * 4 * parts + lane % 4 * parts + part;
}
u32 manual_b(const Product& p, u32 lane, u32 reg, u32 part, u32 parts) {
  return (reg * 4 * parts + lane % 4 * parts + part) * p.n + lane / 4;
}
u32 manual_c(const Product& p, u32 lane, u32 number) {
  return (lane / 4 + (number >= 2 ? 8 : 0)) * p.n + lane % 4 * 2 + (number & 1);
}

u32 parts_of(Element element) {
  return element_bits(element) >= 32 ? 1 : 32 / element_bits(element);
}

// Runs mma with registers filled from `in` (register after register, 32 lanes each).
std::vector<u64> run_mma(Device& device, const Product& p, const std::vector<u64>& in) {
  const u32 sums_c = registers_of_sums(p, p.c), sums_d = registers_of_sums(p, p.d);
  const bool wide = p.a == Element::kF64;
  const char* const prefix = wide ? "%q" : "%r";
  const std::string type = wide ? "f64" : "b32";
  auto* from = device.array<u64>(in.size());
  auto* to = device.array<u64>(std::size_t{32} * sums_d);
  std::copy(in.begin(), in.end(), from);
  std::string body =
      ".reg .b32 %r<64>; .reg .f64 %q<64>; .reg .b64 %rd<8>; .reg .b32 %t;\n"
      " ld.param.u64 %rd1, [from]; ld.param.u64 %rd2, [to]; mov.u32 %t, %tid.x;\n"
      " mul.wide.u32 %rd3, %t, 8; add.s64 %rd1, %rd1, %rd3; add.s64 %rd2, %rd2, %rd3;\n";
  const u32 inputs = p.a_registers + p.b_registers + sums_c;
  for (u32 n = 0; n < inputs; ++n) {
    body += " ld.global." + type + " " + prefix + std::to_string(n) + ", [%rd1+" +
            std::to_string(n * 256) + "];\n";
  }
  body += " " + std::string(p.name) + " " + several(prefix, 40, sums_d) + ", " +
          several(prefix, 0, p.a_registers) + ", " + several(prefix, p.a_registers, p.b_registers) +
          ", " + several(prefix, p.a_registers + p.b_registers, sums_c) + ";\n";
  for (u32 n = 0; n < sums_d; ++n) {
    body += " st.global." + type + " [%rd2+" + std::to_string(n * 256) + "], " + prefix +
            std::to_string(40 + n) + ";\n";
  }
  const auto program = load(device, module_of(".param .u64 from, .param .u64 to", body));
  const Fault fault = run(device, *program, "k", {}, pack(from, to));
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  return {to, to + std::size_t{32} * sums_d};
}

// The registers of a, b and c, filled by the manual's tables.
std::vector<u64> operands(const Product& p, const std::vector<int>& a, const std::vector<int>& b,
                          const std::vector<int>& c) {
  std::vector<u64> in;
  const u32 width = element_bits(p.a), parts = parts_of(p.a);
  const auto factor = [&](u32 registers, Element element, auto value) {
    for (u32 reg = 0; reg < registers; ++reg) {
      for (u32 lane = 0; lane < 32; ++lane) {
        u64 word = 0;
        for (u32 part = 0; part < parts; ++part) {
          word |= encoded(element, value(lane, reg, part)) << (part * width % 64);
        }
        in.push_back(word);
      }
    }
  };
  factor(p.a_registers, p.a,
         [&](u32 lane, u32 reg, u32 part) { return a[manual_a(p, lane, reg, part, parts)]; });
  factor(p.b_registers, p.b,
         [&](u32 lane, u32 reg, u32 part) { return b[manual_b(p, lane, reg, part, parts)]; });
  const u32 in_one = p.c == Element::kF16 ? 2 : 1;
  for (u32 reg = 0; reg < registers_of_sums(p, p.c); ++reg) {
    for (u32 lane = 0; lane < 32; ++lane) {
      u64 word = 0;
      for (u32 part = 0; part < in_one; ++part) {
        word |= encoded(p.c, c[manual_c(p, lane, reg * in_one + part)]) << (part * 16);
      }
      in.push_back(word);
    }
  }
  return in;
}

const Product kProducts[] = {
    {"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", 16, 8, 16, Element::kF16, Element::kF16,
     Element::kF32, Element::kF32, 4, 2},
    {"mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16", 16, 8, 8, Element::kF16, Element::kF16,
     Element::kF16, Element::kF16, 2, 1},
    {"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", 16, 8, 16, Element::kBf16,
     Element::kBf16, Element::kF32, Element::kF32, 4, 2},
    {"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", 16, 8, 8, Element::kTf32, Element::kTf32,
     Element::kF32, Element::kF32, 4, 2},
    {"mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32", 16, 8, 4, Element::kTf32, Element::kTf32,
     Element::kF32, Element::kF32, 2, 1},
    {"mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64", 8, 8, 4, Element::kF64, Element::kF64,
     Element::kF64, Element::kF64, 1, 1},
    {"mma.sync.aligned.m16n8k8.row.col.f64.f64.f64.f64", 16, 8, 8, Element::kF64, Element::kF64,
     Element::kF64, Element::kF64, 4, 2},
    {"mma.sync.aligned.m8n8k16.row.col.s32.s8.u8.s32", 8, 8, 16, Element::kS8, Element::kU8,
     Element::kS32, Element::kS32, 1, 1},
    {"mma.sync.aligned.m16n8k32.row.col.satfinite.s32.u8.s8.s32", 16, 8, 32, Element::kU8,
     Element::kS8, Element::kS32, Element::kS32, 4, 2},
    {"mma.sync.aligned.m16n8k64.row.col.s32.s4.u4.s32", 16, 8, 64, Element::kS4, Element::kU4,
     Element::kS32, Element::kS32, 4, 2},
    {"mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc", 16, 8, 256, Element::kB1,
     Element::kB1, Element::kS32, Element::kS32, 4, 2},
};

TEST_CASE("mma multiplies matrices that lie in registers as the manual says") {
  std::mt19937 random(3);
  for (const Product& p : kProducts) {
    Device device;
    const auto a = matrix(random, p.m * p.k, p.a), b = matrix(random, p.k * p.n, p.b);
    const auto c = matrix(random, p.m * p.n, p.c);
    const std::vector<u64> out = run_mma(device, p, operands(p, a, b, c));
    const std::vector<int> want = expected(p, a, b, c);
    const u32 in_one = p.d == Element::kF16 ? 2 : 1;
    for (u32 reg = 0; reg < registers_of_sums(p, p.d); ++reg) {
      for (u32 lane = 0; lane < 32; ++lane) {
        for (u32 part = 0; part < in_one; ++part) {
          const int value = want[manual_c(p, lane, reg * in_one + part)];
          const u64 word = out[reg * 32 + lane] >> (part * 16);
          const u64 mask = p.d == Element::kF64 ? ~u64{0} : p.d == Element::kF16 ? 0xffffu : ~0u;
          CHECK_MESSAGE((word & mask) == encoded(p.d, value), p.name << " lane " << lane);
        }
      }
    }
  }
}

TEST_CASE("sums of integers wrap, or stop at the ends where they are told to") {
  const int c = 0x7ffffff0;
  for (const bool stops : {false, true}) {
    const std::string name = std::string("mma.sync.aligned.m8n8k16.row.col") +
                             (stops ? ".satfinite" : "") + ".s32.s8.s8.s32";
    const Product p{name.c_str(),  8, 8, 16, Element::kS8, Element::kS8, Element::kS32,
                    Element::kS32, 1, 1};
    Device device;
    const std::vector<int> ones(128, 3);
    const auto out = run_mma(device, p, operands(p, ones, ones, std::vector<int>(64, c)));
    const u32 wrapped = static_cast<u32>(c) + 16 * 9;
    CHECK(static_cast<u32>(out[0]) == (stops ? 0x7fffffffu : wrapped));
  }
}

TEST_CASE("xor.popc counts the bits in which rows and columns differ") {
  const Product p{"mma.sync.aligned.m8n8k128.row.col.s32.b1.b1.s32.xor.popc",
                  8,
                  8,
                  128,
                  Element::kB1,
                  Element::kB1,
                  Element::kS32,
                  Element::kS32,
                  1,
                  1};
  Device device;
  std::mt19937 random(9);
  const auto a = matrix(random, 8 * 128, Element::kB1), b = matrix(random, 8 * 128, Element::kB1);
  const auto out = run_mma(device, p, operands(p, a, b, std::vector<int>(64, 5)));
  for (u32 lane = 0; lane < 32; ++lane) {
    u32 differing = 5;
    for (u32 x = 0; x < 128; ++x) {
      differing += a[lane / 4 * 128 + x] != b[x * 8 + lane % 4 * 2] ? 1u : 0u;
    }
    CHECK(static_cast<u32>(out[lane]) == differing);
  }
}

TEST_CASE("conversions to tf32 keep ten bits of mantissa") {
  Device device;
  check_lanes(device, "cvt.rna.tf32.f32 %r0, %f1;", 'r', [](const Lane& in) -> u64 {
    const u32 x = lo(in.a);
    if (std::isnan(f32(x))) return 0x7fffffff;
    return (x + 0x1000u) & 0xffffe000u;
  });
}

TEST_CASE("products that do not exist are refused by name") {
  Device device;
  const auto refused = [&](const std::string& instruction) {
    const auto program = load(
        device, module_of(".param .u64 p", ".reg .b32 %r<32>; .reg .f32 %f<32>;\n" + instruction));
    return program->kernel("k")->decode().code() == Code::kUnsupported;
  };
  const std::string shapes =
      "{%f1, %f2, %f3, %f4}, {%r1, %r2, %r3, %r4}, {%r5, %r6}, "
      "{%f1, %f2, %f3, %f4};";
  const std::string mma = "mma.sync.aligned.m16n8k16.row.col.";
  CHECK_FALSE(refused(mma + "f32.f16.f16.f32 " + shapes));
  CHECK(refused(mma + "f32.f16.bf16.f32 " + shapes));
  CHECK(refused(mma + "f32.f32.f32.f32 " + shapes));
  CHECK(refused(mma + "f16.f16.f16.f32 " + shapes));
  CHECK(refused("mma.sync.aligned.m16n8k999.row.col.f32.f16.f16.f32 " + shapes));
  CHECK(refused("mma.sync.aligned.m24n8k16.row.col.f32.f16.f16.f32 " + shapes));
  CHECK(refused("mma.sp.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 " + shapes));
  CHECK(refused(mma + "f32.e4m3.e4m3.f32 " + shapes));
  CHECK(refused("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r1}, [%r2];"));
}

}  // namespace
}  // namespace farcall::softgpu::test
