// Address spaces, vector accesses, atomics, faults, and what memory kernels reach.
#include <doctest/doctest.h>

#include "tests/gpu_server/software_gpu/exec/harness.h"

namespace farcall::softgpu::test {
namespace {

using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

constexpr const char* kHead =
    ".reg .b16 %h<8>; .reg .b32 %r<32>; .reg .b64 %rd<16>; .reg .pred %p<8>; .reg .f32 %f<8>;\n"
    ".reg .f64 %fd<4>;\n"
    " ld.param.u64 %rd1, [p]; ld.param.u64 %rd2, [q]; mov.u32 %r1, %tid.x;\n";

Fault run_body(Device& device, const std::string& body, void* p, void* q, Shape shape = {},
               Isa isa = Isa::kBest, const std::string& outside = "") {
  const auto program =
      load(device, module_of(".param .u64 p, .param .u64 q", kHead + body, outside));
  return run(device, *program, "k", shape, pack(p, q), isa);
}

TEST_CASE("loads and stores of every size, neighbouring, equal, strided and partial") {
  struct Form {
    const char* load;
    const char* store;
    u32 bytes;
  };
  const Form forms[] = {
      {"ld.global.u8 %r2, [%rd3]", "st.global.u8 [%rd4], %r2", 1},
      {"ld.global.s8 %h1, [%rd3]", "st.global.u8 [%rd4], %h1", 1},
      {"ld.global.u16 %h1, [%rd3]", "st.global.u16 [%rd4], %h1", 2},
      {"ld.global.u32 %r2, [%rd3]", "st.global.u32 [%rd4], %r2", 4},
      {"ld.global.s32 %rd5, [%rd3]", "st.global.u32 [%rd4], %rd5", 4},
      {"ld.global.f64 %fd1, [%rd3]", "st.global.f64 [%rd4], %fd1", 8},
      {"ld.global.v2.u32 {%r2, %r3}, [%rd3]", "st.global.v2.u32 [%rd4], {%r2, %r3}", 8},
      {"ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd3]",
       "st.global.v4.f32 [%rd4], {%f1, %f2, %f3, %f4}", 16},
      {"ld.global.v4.u8 {%h1, %h2, %h3, %h4}, [%rd3]",
       "st.global.v4.u8 [%rd4], {%h1, %h2, %h3, %h4}", 4},
      {"ld.v2.b64 {%rd5, %rd6}, [%rd3]", "st.v2.b64 [%rd4], {%rd5, %rd6}", 16}};
  Device device;
  u8* in = device.array<u8>(4096);
  u8* out = device.array<u8>(4096);
  for (u32 n = 0; n < 4096; ++n) in[n] = static_cast<u8>(n * 7 + n / 256);
  for (const Isa isa : kIsas) {
    for (const Form& form : forms) {
      for (const u32 stride : {1u, 0u, 3u}) {
        for (const u32 low : {0u, 5u}) {
          std::fill(out, out + 4096, u8{0});
          const std::string body =
              " setp.lt.u32 %p1, %r1, " + std::to_string(low) +
              "; @%p1 bra E;\n mul.lo.u32 %r9, %r1, " + std::to_string(stride * form.bytes) +
              "; cvt.u64.u32 %rd9, %r9; add.s64 %rd3, %rd1, %rd9;\n mul.wide.u32 %rd8, %r1, 16; "
              "add.s64 %rd4, %rd2, %rd8;\n " +
              form.load + ";\n " + form.store + ";\nE: ";
          const Fault fault = run_body(device, body, in, out, {}, isa);
          REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
          for (u32 t = 0; t < 32; ++t) {
            for (u32 b = 0; b < form.bytes; ++b) {
              const u8 want = t < low ? u8{0} : in[t * stride * form.bytes + b];
              CHECK_MESSAGE(out[t * 16 + b] == want, form.load << " stride " << stride);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("shared memory, static and dynamic, with offsets and 32-bit addresses") {
  Device device;
  u32* out = device.array<u32>(128);
  const char* const body =
      " .shared .align 4 .b8 mine[512];\n"
      " mov.u32 %r2, mine; shl.b32 %r3, %r1, 2; add.u32 %r4, %r2, %r3; st.shared.u32 [%r4], %r1;\n"
      " mov.u64 %rd3, dyn; mul.wide.u32 %rd4, %r1, 4; add.s64 %rd5, %rd3, %rd4;\n"
      " add.u32 %r5, %r1, 1000; st.shared.u32 [%rd5], %r5; bar.sync 0;\n"
      " xor.b32 %r6, %r1, 64; shl.b32 %r7, %r6, 2; add.u32 %r7, %r2, %r7; ld.shared.u32 %r8, "
      "[%r7];\n"
      " cvta.shared.u64 %rd6, %rd3; mul.wide.u32 %rd7, %r6, 4; add.s64 %rd6, %rd6, %rd7;\n"
      " ld.u32 %r9, [%rd6]; add.u32 %r8, %r8, %r9; ld.shared.u32 %r10, [mine+4];\n"
      " ld.shared.u32 %r11, [dyn+8]; add.u32 %r8, %r8, %r10; add.u32 %r8, %r8, %r11;\n"
      " add.s64 %rd8, %rd2, %rd4; st.global.u32 [%rd8], %r8;";
  const Fault fault = run_body(device, body, nullptr, out, {1, 128, 512}, Isa::kBest,
                               ".extern .shared .align 16 .b8 dyn[];");
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  for (u32 t = 0; t < 128; ++t) CHECK(out[t] == (t ^ 64) * 2 + 1000 + 1 + 1002);
}

TEST_CASE("local memory is each thread's own, also through generic addresses") {
  Device device;
  u32* out = device.array<u32>(64);
  const char* const body =
      " .local .align 8 .b8 depot[64];\n"
      " mov.u64 %rd3, depot; cvta.local.u64 %rd4, %rd3; st.local.u32 [depot+4], %r1;\n"
      " st.local.v2.u32 [%rd3+8], {%r1, %r1}; ld.u32 %r2, [%rd4+4]; ld.local.u32 %r3, [%rd3+12];\n"
      " add.u32 %r2, %r2, %r3; st.u32 [%rd4+32], %r2; ld.local.u32 %r4, [depot+32];\n"
      " mul.wide.u32 %rd5, %r1, 4; add.s64 %rd6, %rd2, %rd5; st.global.u32 [%rd6], %r4;";
  const Fault fault = run_body(device, body, nullptr, out, {1, 64});
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  for (u32 t = 0; t < 64; ++t) CHECK(out[t] == 2 * t);
}

TEST_CASE("globals and constants are initialised, addresses among them") {
  Device device;
  u32* out = device.array<u32>(4);
  const auto program = load(
      device,
      module_of(".param .u64 p",
                " .reg .b32 %r<8>; .reg .b64 %rd<8>;\n ld.param.u64 %rd1, [p];\n"
                " ld.const.u32 %r1, [table+4]; st.global.u32 [%rd1], %r1;\n"
                " ld.global.u64 %rd2, [pointer]; ld.u32 %r2, [%rd2]; st.global.u32 [%rd1+4], %r2;\n"
                " ld.global.u32 %r3, [counter]; add.u32 %r3, %r3, 1; st.global.u32 [counter], %r3;",
                ".const .align 4 .u32 table[3] = {10, 20, 30};\n"
                ".visible .global .align 4 .u32 counter = 41;\n"
                ".global .align 8 .u64 pointer = generic(table)+8;\n"));
  const Fault fault = run(device, *program, "k", {1, 1}, pack(out));
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  CHECK(out[0] == 20);
  CHECK(out[1] == 30);
  const auto counter = program->global("counter");
  REQUIRE(counter.has_value());
  CHECK(counter->bytes == 4);
  CHECK(*reinterpret_cast<u32*>(counter->base) == 42);
  CHECK(!program->global("nothing").has_value());
}

TEST_CASE("atomics of all blocks on several host threads add up") {
  Device device;
  u32* out = device.array<u32>(64);
  out[3] = 0xffffffff;
  out[20] = 5;
  const char* const body =
      " mov.u32 %r2, %ctaid.x; mad.lo.u32 %r3, %r2, 64, %r1;\n"
      " atom.global.add.u32 %r4, [%rd2], 1; red.global.add.u32 [%rd2+4], %r3;\n"
      " atom.global.max.s32 %r5, [%rd2+8], %r3; atom.global.min.u32 %r5, [%rd2+12], %r3;\n"
      " atom.global.inc.u32 %r5, [%rd2+16], 6; red.global.or.b32 [%rd2+20], %r3;\n"
      " mov.f32 %f1, 0f3F000000; atom.global.add.f32 %f2, [%rd2+24], %f1;\n"
      " mov.u64 %rd3, 3; atom.add.u64 %rd4, [%rd2+32], %rd3; atom.global.xor.b32 %r6, [%rd2+40], "
      "1;\n"
      " mov.f64 %fd1, 0d3fe0000000000000; red.global.add.f64 [%rd2+48], %fd1;\n"
      " atom.global.exch.b32 %r7, [%rd2+56], %r3; atom.global.dec.u32 %r8, [%rd2+80], 9;";
  const auto program =
      load(device, module_of(".param .u64 p, .param .u64 q", kHead + std::string(body)));
  const Fault fault = run(device, *program, "k", {100, 64}, pack(u64{0}, out), Isa::kBest, 4);
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  CHECK(out[0] == 6400);
  CHECK(out[1] == 6400u * 6399 / 2);
  CHECK(out[2] == 6399);
  CHECK(out[3] == 0);
  CHECK(out[4] == 6400 % 7);
  CHECK(out[5] == 8191);
  CHECK(f32(out[6]) == 3200.0f);
  CHECK(out[8] == 19200);
  CHECK(out[10] == 0);
  double half = 0;
  std::memcpy(&half, out + 12, 8);
  CHECK(half == 3200.0);
  CHECK(out[14] < 6400);
  CHECK(out[20] == (5 + 10 - 6400 % 10) % 10);
}

TEST_CASE("compare and swap, and atomics on shared memory") {
  Device device;
  u32* out = device.array<u32>(64);
  const char* const body =
      " .shared .align 4 .u32 sum;\n setp.eq.u32 %p1, %r1, 0; @%p1 st.shared.u32 [sum], 0;\n"
      " bar.sync 0; atom.shared.add.u32 %r2, [sum], %r1; bar.sync 0; ld.shared.u32 %r3, [sum];\n"
      " mul.wide.u32 %rd5, %r1, 4; add.s64 %rd6, %rd2, %rd5;\n"
      " atom.global.cas.b32 %r4, [%rd6], 0, %r3; atom.global.cas.b32 %r4, [%rd6], 0, 5;";
  const Fault fault = run_body(device, body, nullptr, out, {1, 64});
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  for (u32 t = 0; t < 64; ++t) CHECK(out[t] == 2016);
}

TEST_CASE("halves are added atomically, alone and in pairs") {
  Device device;
  u32* out = device.array<u32>(64);
  const char* const body =
      " mov.u32 %r2, 0x3c004000; mov.u32 %r3, 0x3f804000; cvt.u16.u32 %h1, %r2;\n"
      " atom.global.add.noftz.f16x2 %r4, [%rd2], %r2; red.global.add.noftz.f16 [%rd2+4], %h1;\n"
      " atom.global.add.noftz.bf16x2 %r5, [%rd2+8], %r3; cvt.u16.u32 %h2, %r3;\n"
      " red.global.add.noftz.bf16 [%rd2+14], %h2;";
  const auto program =
      load(device, module_of(".param .u64 p, .param .u64 q", kHead + std::string(body)));
  const Fault fault = run(device, *program, "k", {4, 64}, pack(u64{0}, out), Isa::kBest, 4);
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  CHECK(out[0] == 0x5c006000);  // 256 times 1 and 2
  CHECK(out[1] == 0x6000);
  CHECK(out[2] == 0x43804400);
  CHECK(out[3] == 0x44000000);
}

TEST_CASE("atomics on vectors change each element, and tell what was there") {
  Device device;
  u32* out = device.array<u32>(64);
  out[12] = 0x7e00bc00;  // no number, -1
  out[13] = 0x00008000;  // 0, -0
  const char* const body =
      " .reg .b16 %q<16>; .reg .f32 %g<8>; mov.f32 %g1, 0f3f800000; mov.f32 %g2, 0f40000000;\n"
      " mov.f32 %g3, 0f40400000; mov.f32 %g4, 0f40800000;\n"
      " red.global.v4.f32.add [%rd2], {%g1, %g2, %g3, %g4};\n"
      // The second element's register is written before it is read, if the order were wrong.
      " atom.global.v2.f32.add {%g2, %g1}, [%rd2+16], {%g1, %g2};\n"
      " mov.u32 %r2, 0x3c004000; mov.u32 %r3, 0x3f804000;\n"
      " red.global.add.noftz.v4.f16x2 [%rd2+32], {%r2, %r2, %r2, %r2};\n"
      " mov.u32 %r4, 0x3c004000; mov.u32 %r5, 0x80000000;\n"
      " red.global.max.noftz.v2.f16x2 [%rd2+48], {%r4, %r5};\n"
      " red.global.add.noftz.v2.bf16x2 [%rd2+56], {%r3, %r3};\n"
      " mov.b32 {%q1, %q2}, %r2; mov.b32 {%q3, %q4}, %r2;\n"
      " atom.global.add.noftz.v8.f16 {%q5, %q6, %q7, %q8, %q9, %q10, %q11, %q12}, [%rd2+64],\n"
      "   {%q1, %q2, %q3, %q4, %q1, %q1, %q1, %q1};";
  const auto program =
      load(device, module_of(".param .u64 p, .param .u64 q", kHead + std::string(body)));
  const Fault fault = run(device, *program, "k", {4, 64}, pack(u64{0}, out), Isa::kBest, 4);
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  for (u32 n = 0; n < 4; ++n) CHECK(f32(out[n]) == 256.0f * static_cast<float>(n + 1));
  CHECK(f32(out[4]) == 256);
  CHECK(f32(out[5]) == 512);
  for (u32 n = 8; n < 12; ++n) CHECK(out[n] == 0x5c006000);
  CHECK(out[12] == 0x3c004000);
  CHECK(out[13] == 0x00000000);
  CHECK(out[14] == 0x43804400);
  CHECK(out[16] == 0x5c006000);
  CHECK(out[19] == 0x60006000);
  for (const char* refused :
       {"red.global.v8.f32.add [%rd2], {%f1, %f1, %f1, %f1, %f1, %f1, %f1, %f1};",
        "red.shared.v2.f32.add [%r1], {%f1, %f1};", "red.global.v2.f32.min [%rd2], {%f1, %f1};",
        "red.global.v2.f32.add [%rd2], %f1;"}) {
    const auto wrong =
        load(device, module_of(".param .u64 p, .param .u64 q", kHead + std::string(refused)));
    CHECK_MESSAGE(wrong->kernel("k")->decode().code() == Code::kUnsupported, refused);
  }
  const Fault crooked =
      run_body(device, " red.global.v2.f32.add [%rd2+4], {%f1, %f1};", nullptr, out);
  CHECK(crooked.kind == FaultKind::kMisaligned);
}

TEST_CASE("four words of a lane are moved from and to places that are aligned to 16 bytes only") {
  Device device;
  u32* in = device.array<u32>(256);
  u32* out = device.array<u32>(256);
  for (u32 n = 0; n < 256; ++n) in[n] = n;
  // The second block finds the ranges known, so that its lanes are moved by eights.
  const char* const body =
      " mul.wide.u32 %rd3, %r1, 16; add.s64 %rd4, %rd1, %rd3; add.s64 %rd5, %rd2, %rd3;\n"
      " ld.global.v4.u32 {%r4, %r5, %r6, %r7}, [%rd4+16];\n"
      " st.global.v4.u32 [%rd5+16], {%r4, %r5, %r6, %r7};";
  const Fault fault = run_body(device, body, in, out, {4, 32});
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  for (u32 n = 4; n < 132; ++n) CHECK(out[n] == n);
}

TEST_CASE("shared memory comes in units of 128 bytes") {
  Device device;
  u32* out = device.array<u32>(32);
  const auto store_at = [&](const char* offset) {
    return run_body(device,
                    " .shared .b8 s[16]; mov.u32 %r2, s; add.u32 %r2, %r2, " + std::string(offset) +
                        "; st.shared.u32 [%r2], %r2; ld.shared.u32 %r3, [%r2];"
                        " st.global.u32 [%rd2], %r3;",
                    nullptr, out);
  };
  CHECK(store_at("124").kind == FaultKind::kNone);
  CHECK(out[0] == 124);
  CHECK(store_at("128").kind == FaultKind::kIllegalAddress);
}

TEST_CASE("cp.async copies at once and fills with zeros") {
  Device device;
  u32* in = device.array<u32>(128);
  u32* out = device.array<u32>(128);
  for (u32 n = 0; n < 128; ++n) in[n] = n + 1;
  // Twice: the second time the memory is known, and whole warps copy by eights.
  const std::string body =
      " .shared .align 16 .b8 room[512];\n mul.wide.u32 %rd3, %r1, 16; add.s64 %rd4, %rd1, %rd3;\n"
      " shl.b32 %r2, %r1, 4; mov.u32 %r3, room; add.u32 %r3, %r3, %r2; mov.u32 %r8, 0;\n"
      "L: cp.async.cg.shared.global [%r3], [%rd4], 16, USED; cp.async.commit_group;\n"
      " cp.async.wait_group 0; add.u32 %r8, %r8, 1; setp.lt.u32 %p1, %r8, 2; @%p1 bra L;\n"
      " bar.sync 0; ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%r3]; add.s64 %rd5, %rd2, %rd3;\n"
      " st.global.v4.u32 [%rd5], {%r4, %r5, %r6, %r7};";
  for (const u32 words : {0u, 2u, 4u}) {
    std::string used = body;
    used.replace(used.find("USED"), 4, std::to_string(words * 4));
    std::fill_n(out, 128, 9);
    const Fault fault = run_body(device, used, in, out);
    REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
    for (u32 n = 0; n < 128; ++n) CHECK(out[n] == ((n & 3) < words ? n + 1 : 0));
  }
}

TEST_CASE("accesses outside memory are faults that say where") {
  Device device;
  u32* out = device.array<u32>(32);
  const auto store_at = [&](const char* address) {
    return run_body(device,
                    " mul.wide.u32 %rd5, %r1, 4; add.s64 %rd6, %rd2, %rd5;\n st.global.u32 [" +
                        std::string(address) + "], %r1;",
                    nullptr, out, {1, 33});
  };
  Fault fault = store_at("%rd6");  // thread 32 is the first outside
  CHECK(fault.kind == FaultKind::kIllegalAddress);
  CHECK(fault.text.find("kernel k, block (0,0,0), thread (32,0,0), PTX line ") !=
        std::string::npos);
  fault = store_at("%rd1");
  CHECK(fault.kind == FaultKind::kIllegalAddress);
  fault = store_at("%rd2+2");
  CHECK(fault.kind == FaultKind::kMisaligned);
  fault = run_body(device, " .shared .b8 s[16]; mov.u32 %r2, 4096; ld.shared.u32 %r3, [%r2];",
                   nullptr, out);
  CHECK(fault.kind == FaultKind::kIllegalAddress);
  CHECK(fault.text.find("shared memory") != std::string::npos);
  fault = run_body(device, " .local .b8 s[16]; mov.u32 %r2, 64; st.local.u32 [%r2], %r2;", nullptr,
                   out);
  CHECK(fault.kind == FaultKind::kIllegalAddress);
  fault = run_body(device, " mov.u64 %rd5, 64; atom.global.add.u32 %r2, [%rd5], 1;", nullptr, out);
  CHECK(fault.kind == FaultKind::kIllegalAddress);
}

TEST_CASE("released memory is out of reach, mapped host memory within") {
  Device device;
  std::vector<u32> host(1024, 7);
  const char* const body =
      " ld.global.u32 %r2, [%rd1]; add.u32 %r2, %r2, 1; st.global.u32 [%rd1+4], %r2;";
  Fault fault = run_body(device, body, host.data(), nullptr, {1, 1});
  CHECK(fault.kind == FaultKind::kIllegalAddress);
  REQUIRE(device.memory().map_host(host.data(), host.size() * 4).ok());
  CHECK(device.memory().map_host(host.data() + 10, 4).code() == Code::kBusy);
  fault = run_body(device, body, host.data(), nullptr, {1, 1});
  CHECK(fault.kind == FaultKind::kNone);
  CHECK(host[1] == 8);
  device.memory().unmap_host(host.data());
  fault = run_body(device, body, host.data(), nullptr, {1, 1});
  CHECK(fault.kind == FaultKind::kIllegalAddress);
  const u64 room = device.memory().allocate(4096).value();
  CHECK(device.memory().contains(room, 4096));
  CHECK(!device.memory().contains(room, 4097));
  REQUIRE(device.memory().release(room).ok());
  fault = run_body(device, body, reinterpret_cast<void*>(room), nullptr, {1, 1});
  CHECK(fault.kind == FaultKind::kIllegalAddress);
  CHECK(device.memory().release(room).code() == Code::kNotFound);
}

TEST_CASE("a kernel touches another device's memory only while it is allowed") {
  Device device, neighbour;
  device.memory().know({&neighbour.memory()});
  u32* theirs = neighbour.array<u32>(32);
  theirs[3] = 41;
  const char* const body =
      " ld.global.u32 %r2, [%rd1+12]; add.u32 %r2, %r2, 1; st.global.u32 [%rd2+12], %r2;";
  CHECK(run_body(device, body, theirs, theirs).kind == FaultKind::kIllegalAddress);
  device.memory().allow(neighbour.memory());
  device.memory().allow(neighbour.memory());
  device.memory().deny(neighbour.memory());
  const Fault fault = run_body(device, body, theirs, theirs);
  CHECK_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  CHECK(theirs[3] == 42);
  {
    // Freed while a launch runs, it stays readable until that launch ends.
    const Memory::Pin launch(device.memory());
    const auto freed = neighbour.memory().allocate(1 << 20);
    REQUIRE(freed.ok());
    REQUIRE(neighbour.memory().release(freed.value()).ok());
    CHECK(*reinterpret_cast<volatile u32*>(freed.value()) == 0);
  }
  device.memory().deny(neighbour.memory());
  CHECK(run_body(device, body, theirs, theirs).kind == FaultKind::kIllegalAddress);
  u32 pinned[8] = {};
  REQUIRE(neighbour.memory().map_host(pinned, sizeof pinned).ok());
  CHECK(run_body(device, body, pinned, pinned).kind == FaultKind::kNone);
  CHECK(pinned[3] == 1);
  neighbour.memory().unmap_host(pinned);
}

}  // namespace
}  // namespace farcall::softgpu::test
