// What full warps do in one go: accesses by eights, registers that never change, shuffles.
#include <doctest/doctest.h>

#include "tests/gpu_server/software_gpu/exec/harness.h"

namespace farcall::softgpu::test {
namespace {

using u8 = std::uint8_t;
using u32 = std::uint32_t;

// Which element each lane goes to.
using Pattern = u32 (*)(u32 lane);
constexpr Pattern kPatterns[] = {
    [](u32 l) { return l; },
    [](u32 l) { return l % 8 + l / 8 * 20; },       // rows of eight
    [](u32 l) { return l % 16 + l / 16 * 40; },     // rows of sixteen
    [](u32 l) { return l % 8 + (3 - l / 8) * 8; },  // the same, backwards
    [](u32 l) { return l / 8 * 9; },                // one place for each eight
    [](u32) { return 5u; },
    [](u32 l) { return 31 - l; },
    [](u32 l) { return l * 3; },
    [](u32 l) { return l == 31 ? 60 : l; },  // the last one strays
    [](u32 l) { return l == 9 ? 0 : l / 8; },
};

std::string kernel_for(bool shared, const char* load, const char* store, u32 bytes) {
  std::string body =
      ".shared .align 16 .b8 tile[2048]; .reg .b32 %r<16>; .reg .b64 %rd<16>; .reg .b16 %h<8>;\n"
      ".reg .f32 %f<8>; .reg .f64 %fd<4>;\n"
      " ld.param.u64 %rd1, [in]; ld.param.u64 %rd2, [out]; ld.param.u64 %rd3, [where];\n"
      " mov.u32 %r1, %tid.x; mov.u32 %r8, %ctaid.x; mad.lo.u32 %r8, %r8, 32, %r1;\n"
      " mul.wide.u32 %rd4, %r8, 4; add.s64 %rd5, %rd3, %rd4;\n"
      " ld.global.u32 %r2, [%rd5]; mul.lo.u32 %r3, %r2, " +
      std::to_string(bytes) + ";\n";
  if (shared) {
    // Bytes of the input into the tile, 64 for each thread.
    body +=
        " mov.u32 %r4, tile; mad.lo.u32 %r5, %r1, 64, %r4; mul.wide.u32 %rd6, %r1, 64;\n"
        " add.s64 %rd7, %rd1, %rd6; mov.u32 %r6, 0;\n"
        "L: ld.global.u8 %h7, [%rd7]; st.shared.u8 [%r5], %h7; add.s64 %rd7, %rd7, 1;\n"
        " add.u32 %r5, %r5, 1; add.u32 %r6, %r6, 1; .reg .pred %q; setp.lt.u32 %q, %r6, 64;\n"
        " @%q bra L; bar.sync 0; add.u32 %r7, %r4, %r3;\n";
  } else {
    body += " cvt.u64.u32 %rd8, %r3; add.s64 %rd9, %rd1, %rd8; add.s64 %rd10, %rd2, %rd8;\n";
  }
  body += std::string(" ") + load + ";\n";
  if (shared) {
    // Read from the tile, wiped in between, written to it, and the whole tile comes back.
    body += " bar.sync 0; " + std::string(store) +
            "; bar.sync 0;\n"
            " mad.lo.u32 %r5, %r1, 64, %r4; add.s64 %rd7, %rd2, %rd6; mov.u32 %r6, 0;\n"
            "M: ld.shared.u8 %h7, [%r5]; st.global.u8 [%rd7], %h7; add.s64 %rd7, %rd7, 1;\n"
            " add.u32 %r5, %r5, 1; add.u32 %r6, %r6, 1; setp.lt.u32 %q, %r6, 64; @%q bra M;\n";
  } else {
    body += " " + std::string(store) + ";\n";
  }
  return module_of(".param .u64 in, .param .u64 out, .param .u64 where", body + " ret;");
}

struct Form {
  const char* load;
  const char* store;
  u32 bytes;
};

void check_form(Device& device, bool shared, const Form& form) {
  u8* in = device.array<u8>(2048);
  u8* out = device.array<u8>(2048);
  u32* where = device.array<u32>(64);
  for (u32 n = 0; n < 2048; ++n) in[n] = static_cast<u8>(n * 7 + n / 256);
  const auto program = load(device, kernel_for(shared, form.load, form.store, form.bytes));
  for (const Isa isa : kIsas) {
    for (std::size_t p = 0; p < std::size(kPatterns); ++p) {
      u8 expected[2048] = {};
      if (shared) std::memcpy(expected, in, sizeof expected);
      std::fill(out, out + 2048, u8{0});
      for (u32 lane = 0; lane < 32; ++lane) {
        where[lane] = where[lane + 32] = kPatterns[p](lane);
        const std::size_t at = std::size_t{where[lane]} * form.bytes;
        std::memcpy(expected + at, in + at, form.bytes);
      }
      // The second block finds the ranges known.
      const Fault fault = run(device, *program, "k", {2, 32}, pack(in, out, where), isa, 1);
      REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
      REQUIRE_MESSAGE(std::memcmp(out, expected, sizeof expected) == 0,
                      form.load << ", pattern " << p);
    }
  }
}

TEST_CASE("lanes in runs of eight read and write what each would alone") {
  Device device;
  for (const Form& form : {Form{"ld.global.u8 %r9, [%rd9]", "st.global.u8 [%rd10], %r9", 1},
                           Form{"ld.global.s16 %r9, [%rd9]", "st.global.u16 [%rd10], %r9", 2},
                           Form{"ld.global.f32 %f1, [%rd9]", "st.global.f32 [%rd10], %f1", 4},
                           Form{"ld.global.f64 %fd1, [%rd9]", "st.global.f64 [%rd10], %fd1", 8},
                           Form{"ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd9]",
                                "st.global.v4.f32 [%rd10], {%f1, %f2, %f3, %f4}", 16}}) {
    check_form(device, false, form);
  }
  for (const Form& form :
       {Form{"ld.shared.u8 %r9, [%r7]", "st.shared.u8 [%r7], %r9", 1},
        Form{"ld.shared.f32 %f1, [%r7]", "st.shared.f32 [%r7], %f1", 4},
        Form{"ld.shared.v2.f64 {%fd1, %fd2}, [%r7]", "st.shared.v2.f64 [%r7], {%fd1, %fd2}", 16}}) {
    check_form(device, true, form);
  }
}

TEST_CASE("eights that leave their memory, or do not fit its alignment, are faults as before") {
  Device device;
  u8* in = device.array<u8>(4096);
  u32* where = device.array<u32>(64);
  const auto program =
      load(device, kernel_for(false, "ld.global.f32 %f1, [%rd9]", "st.global.f32 [%rd9], %f1", 1));
  for (const Isa isa : kIsas) {
    // The first block stays inside, so that the second finds the range known.
    const auto outcome = [&](u32 first) {
      for (u32 lane = 0; lane < 64; ++lane) {
        where[lane] = lane % 8 * 4 + (lane / 8 == 7 ? first : 0);
      }
      return run(device, *program, "k", {2, 32}, pack(in, in, where), isa, 1).kind;
    };
    CHECK(outcome(4096 - 32) == FaultKind::kNone);
    CHECK(outcome(4096 - 28) == FaultKind::kIllegalAddress);
    CHECK(outcome(0x7000'0000) == FaultKind::kIllegalAddress);
    CHECK(outcome(2) == FaultKind::kMisaligned);
  }
}

TEST_CASE("a register that stands for a parameter or %tid keeps its own value") {
  Device device;
  u32* out = device.array<u32>(64);
  // r1 and r2 are written once; r3 counts, r4 copies what changes, r5 is written on one path only.
  const auto program = load(device, module_of(".param .u64 out, .param .u32 n, .param .s8 low",
                                              R"(.reg .b32 %r<16>; .reg .b64 %rd<8>; .reg .pred %p;
 ld.param.u64 %rd1, [out]; cvta.to.global.u64 %rd2, %rd1; mov.u32 %r1, %tid.x;
 ld.param.u32 %r2, [n]; ld.param.s8 %r6, [low]; mov.u32 %r3, %tid.x; mov.u32 %r7, %r2;
L: mov.u32 %r4, %r3; add.u32 %r3, %r3, %r7; setp.lt.u32 %p, %r3, 100; @%p bra L;
 add.u32 %r8, %r4, %r6; mul.wide.u32 %rd3, %r1, 4; add.s64 %rd4, %rd2, %rd3;
 st.global.u32 [%rd4], %r8; ret;)"));
  for (const Isa isa : kIsas) {
    const auto params = pack(out, u32{10}, static_cast<signed char>(-3));
    const Fault fault = run(device, *program, "k", {2, 64}, params, isa);
    REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
    for (u32 t = 0; t < 64; ++t) CHECK(out[t] == t + (99 - t) / 10 * 10 - 3);
  }
}

}  // namespace
}  // namespace farcall::softgpu::test
