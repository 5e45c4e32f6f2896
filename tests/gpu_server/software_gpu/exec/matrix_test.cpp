// wmma, mma and ldmatrix against plain sums, with operands laid out by the tables of the manual.
#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include "gpu_server/software_gpu/exec/half.h"
#include "gpu_server/software_gpu/exec/matrix.h"
#include "tests/gpu_server/software_gpu/exec/harness.h"

namespace farcall::softgpu::test {
namespace {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

u64 f64_bits(double x) { return bits(x); }

// A number as bits of an element, and back. Small whole numbers: every format holds them exactly.
u64 encoded(Element element, int value) {
  switch (element) {
    case Element::kF16: return encode<F16>(value, 0);
    case Element::kBf16: return encode<Bf16>(value, 0);
    case Element::kF32:
    case Element::kTf32: return bits(static_cast<float>(value));
    case Element::kF64: return f64_bits(value);
    default: {
      const u32 width = element_bits(element);
      return static_cast<u32>(value) & (width == 32 ? ~0u : (1u << width) - 1);
    }
  }
}

int smallest(Element element) {
  return element == Element::kU8 || element == Element::kU4 || element == Element::kB1 ? 0 : -4;
}
int largest(Element element) { return element == Element::kB1 ? 1 : 4; }

std::vector<int> matrix(std::mt19937& random, std::size_t count, Element element) {
  const int low = smallest(element);
  const auto span = static_cast<unsigned>(largest(element) - low + 1);
  std::vector<int> all(count);
  for (int& x : all) x = low + static_cast<int>(random() % span);
  return all;
}

struct Product {
  const char* name;  // the instruction without its operands
  u32 m, n, k;
  Element a, b, c, d;
  u32 a_registers, b_registers;  // c and d: by their size
};

u32 registers_of_sums(const Product& p, Element element) {
  const u32 parts = element == Element::kF16 ? 2 : 1;
  return p.m * p.n / 32 / parts;
}

std::vector<int> expected(const Product& p, const std::vector<int>& a, const std::vector<int>& b,
                          const std::vector<int>& c) {
  std::vector<int> d = c;
  for (u32 i = 0; i < p.m; ++i) {
    for (u32 j = 0; j < p.n; ++j) {
      for (u32 x = 0; x < p.k; ++x) d[i * p.n + j] += a[i * p.k + x] * b[x * p.n + j];
    }
  }
  return d;
}

std::string several(const char* prefix, u32 first, u32 count) {
  std::string all = "{";
  for (u32 n = 0; n < count; ++n) {
    all += (n == 0 ? "" : ", ") + std::string(prefix) + std::to_string(first + n);
  }
  return all + "}";
}

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
