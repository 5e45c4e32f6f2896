// Block barriers, ways to end, and launches that are refused.
#include <doctest/doctest.h>

#include "tests/gpu_server/software_gpu/exec/harness.h"

namespace farcall::softgpu::test {
namespace {

using u32 = std::uint32_t;

constexpr const char* kHead =
    ".reg .b32 %r<32>; .reg .b64 %rd<16>; .reg .pred %p<8>;\n .shared .align 4 .b8 s[4096];\n"
    " ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 4;\n"
    " add.s64 %rd3, %rd1, %rd2; mov.u32 %r30, s; shl.b32 %r31, %r1, 2; add.u32 %r31, %r31, %r30;\n";

struct Ran {
  Fault fault;
  std::vector<u32> words;
};

Ran block_of(unsigned threads, const std::string& body, Isa isa = Isa::kBest) {
  Device device;
  u32* out = device.array<u32>(1024);
  const auto program =
      load(device, module_of(".param .u64 out", kHead + body + "\n st.global.u32 [%rd3], %r0;"));
  Ran ran;
  ran.fault = run(device, *program, "k", {1, threads}, pack(out), isa);
  ran.words.assign(out, out + threads);
  return ran;
}

TEST_CASE("a barrier lets every warp see what the others wrote") {
  for (const Isa isa : kIsas) {
    const Ran ran = block_of(
        1000,
        " st.shared.u32 [%r31], %r1; bar.sync 0; sub.u32 %r2, 999, %r1; shl.b32 %r2, %r2, 2;\n"
        " add.u32 %r2, %r2, %r30; ld.shared.u32 %r0, [%r2]; barrier.sync 0;",
        isa);
    REQUIRE_MESSAGE(ran.fault.kind == FaultKind::kNone, ran.fault.text);
    for (u32 t = 0; t < 1000; ++t) CHECK(ran.words[t] == 999 - t);
  }
}

TEST_CASE("threads that have returned are not waited for") {
  const Ran ran =
      block_of(128, " setp.ge.u32 %p1, %r1, 70; @%p1 ret; bar.sync 0; bar.sync 0; mov.u32 %r0, 5;");
  REQUIRE_MESSAGE(ran.fault.kind == FaultKind::kNone, ran.fault.text);
  CHECK(ran.words[69] == 5);
  CHECK(ran.words[70] == 0);
}

TEST_CASE("a barrier counts lanes that come to it from different places") {
  const Ran ran = block_of(64,
                           " and.b32 %r2, %r1, 1; setp.eq.u32 %p1, %r2, 0; @%p1 bra EVEN;\n"
                           " st.shared.u32 [%r31], 1; barrier.sync 0; bra.uni JOIN;\n"
                           "EVEN: st.shared.u32 [%r31], 2; barrier.sync 0;\n"
                           "JOIN: xor.b32 %r3, %r31, 4; ld.shared.u32 %r0, [%r3];");
  REQUIRE_MESSAGE(ran.fault.kind == FaultKind::kNone, ran.fault.text);
  CHECK(ran.words[0] == 1);
  CHECK(ran.words[1] == 2);
}

TEST_CASE("barriers that reduce") {
  const Ran ran = block_of(
      96,
      " setp.lt.u32 %p1, %r1, 40; bar.red.popc.u32 %r2, 0, %p1; bar.red.and.pred %p2, 0, %p1;\n"
      " bar.red.or.pred %p3, 0, %p1; bar.red.or.pred %p4, 0, !%p1;\n"
      " selp.u32 %r3, 100, 0, %p2; selp.u32 %r4, 1000, 0, %p3; selp.u32 %r5, 10000, 0, %p4;\n"
      " add.u32 %r0, %r2, %r3; add.u32 %r0, %r0, %r4; add.u32 %r0, %r0, %r5;");
  REQUIRE_MESSAGE(ran.fault.kind == FaultKind::kNone, ran.fault.text);
  for (u32 t = 0; t < 96; ++t) CHECK(ran.words[t] == 11040);
}

TEST_CASE("named barriers with counts: one warp produces, another consumes") {
  const Ran ran = block_of(
      96,
      " setp.ge.u32 %p1, %r1, 64; @%p1 bra END; setp.ge.u32 %p2, %r1, 32; @%p2 bra CONSUMER;\n"
      " add.u32 %r2, %r1, 500; st.shared.u32 [%r31], %r2; membar.cta; bar.arrive 3, 64; bra.uni "
      "END;\n"
      "CONSUMER: bar.sync 3, 64; ld.shared.u32 %r0, [%r31+-128];\nEND: ");
  REQUIRE_MESSAGE(ran.fault.kind == FaultKind::kNone, ran.fault.text);
  CHECK(ran.words[33] == 501);
}

TEST_CASE("an mbarrier object in shared memory holds threads until all have arrived") {
  const Ran ran = block_of(
      96,
      " setp.ne.u32 %p1, %r1, 0; @%p1 bra READY; mbarrier.init.shared.b64 [s], 96;\n"
      "READY: bar.sync 0; mov.u32 %r9, 0;\n"
      "AGAIN: st.shared.u32 [%r31+64], %r1; mbarrier.arrive.shared.b64 %rd5, [s];\n"
      "WAIT: mbarrier.test_wait.shared.b64 %p2, [s], %rd5; @!%p2 bra WAIT;\n"
      " sub.u32 %r2, 95, %r1; shl.b32 %r2, %r2, 2; add.u32 %r2, %r2, %r30;\n"
      " ld.shared.u32 %r0, [%r2+64]; add.u32 %r9, %r9, 1; setp.lt.u32 %p3, %r9, 3;\n"
      " mbarrier.arrive.shared.b64 %rd6, [s];\n"
      "WAIT2: mbarrier.test_wait.shared.b64 %p2, [s], %rd6; @!%p2 bra WAIT2; @%p3 bra AGAIN;");
  REQUIRE_MESSAGE(ran.fault.kind == FaultKind::kNone, ran.fault.text);
  for (u32 t = 0; t < 96; ++t) CHECK(ran.words[t] == 95 - t);
}

TEST_CASE("a barrier nobody else reaches is reported, not waited for") {
  const Ran ran = block_of(
      64, " setp.lt.u32 %p1, %r1, 32; @%p1 bra A; bar.sync 1; bra.uni B; A: bar.sync 2;\nB: ");
  CHECK(ran.fault.kind == FaultKind::kLaunchTimeout);
}

TEST_CASE("traps and assertions name the place") {
  const Ran ran = block_of(64, " setp.eq.u32 %p1, %r1, 45;\n @%p1 trap;");
  CHECK(ran.fault.kind == FaultKind::kTrap);
  CHECK(ran.fault.text.find("thread (45,0,0)") != std::string::npos);
}

TEST_CASE("what is not supported is refused by name, before anything runs") {
  Device device;
  const auto program = load(
      device,
      module_of(
          "", ".reg .b32 %r<4>;\n add.u32 %r1, %r2, %r3;\n vmad.s32.s32.s32 %r1, %r2, %r3, %r1;"));
  const Status status = program->kernel("k")->decode();
  CHECK(status.code() == Code::kUnsupported);
  CHECK(status.text().find("vmad.s32.s32.s32") != std::string::npos);
  CHECK(status.text().find("function k, line") != std::string::npos);
  const Fault fault = run(device, *program, "k", {}, {});
  CHECK(fault.kind == FaultKind::kUnsupported);
}

TEST_CASE("registers of the wrong size are refused") {
  Device device;
  for (const char* const body :
       {".reg .b32 %r<4>; .reg .b64 %rd<4>;\n add.u64 %rd1, %rd2, %r1;",
        ".reg .b32 %r<4>; .reg .b64 %rd<4>;\n add.u32 %rd1, %r2, %r1;",
        ".reg .b32 %r<4>; .reg .pred %p<4>;\n add.u32 %r1, %r2, %p1;",
        ".reg .b32 %r<4>; .reg .b64 %rd<4>;\n ld.global.u32 %r1, [%r2];",
        ".reg .b32 %r<4>;\n mov.u32 %r1, %nonsense;", ".reg .b32 %r<4>;\n add.u32 %r1;"}) {
    const auto program = load(device, module_of("", body));
    CHECK_MESSAGE(program->kernel("k")->decode().code() == Code::kUnsupported, body);
  }
}

TEST_CASE("launches that no device accepts are refused") {
  Device device;
  const auto program =
      load(device, module_of(".param .u64 a, .param .align 16 .b8 s[20], .param .u8 c", "") +
                       ".visible .entry small() .maxntid 64, 1, 1\n{\n ret;\n}\n");
  const Kernel* kernel = program->kernel("k");
  REQUIRE(kernel->params().size() == 3);
  CHECK(kernel->params()[1].offset == 16);
  CHECK(kernel->params()[2].offset == 36);
  CHECK(kernel->param_bytes() == 37);
  CHECK(run(device, *program, "k", {1, 1}, std::vector<std::byte>(36)).kind ==
        FaultKind::kInvalidLaunch);
  CHECK(run(device, *program, "k", {1, 1}, std::vector<std::byte>(37)).kind == FaultKind::kNone);
  CHECK(run(device, *program, "small", {1, 65}, {}).kind == FaultKind::kInvalidLaunch);
  CHECK(run(device, *program, "small", {1, 64}, {}).kind == FaultKind::kNone);
  CHECK(run(device, *program, "small", {0, 64}, {}).kind == FaultKind::kInvalidLaunch);
  CHECK(run(device, *program, "small", {1, 64, 1 << 20}, {}).kind == FaultKind::kInvalidLaunch);
  CHECK(program->kernel("nothing") == nullptr);
  CHECK(program->kernel_names() == std::vector<std::string>{"k", "small"});
}

TEST_CASE("parameters of every kind reach the kernel") {
  Device device;
  u32* out = device.array<u32>(8);
  const auto program = load(
      device,
      module_of(
          ".param .u64 out, .param .u8 small, .param .align 8 .b8 pair[16]",
          " .reg .b32 %r<8>; .reg .b64 %rd<8>; .reg .b16 %h<4>;\n ld.param.u64 %rd1, [out];\n"
          " ld.param.s8 %h1, [small]; cvt.s32.s16 %r1, %h1; st.global.u32 [%rd1], %r1;\n"
          " mov.b64 %rd2, pair; ld.param.u32 %r2, [%rd2+8]; st.global.u32 [%rd1+4], %r2;\n"
          " cvta.param.u64 %rd3, %rd2; ld.v2.u32 {%r3, %r4}, [%rd3]; st.global.u32 [%rd1+8], %r3;\n"
          " ld.param.v2.u32 {%r5, %r6}, [pair]; st.global.u32 [%rd1+12], %r6;\n"
          " ld.param.u32 %rd4, [pair+12]; st.global.u32 [%rd1+16], %rd4;"));
  std::vector<std::byte> params(32);
  std::memcpy(params.data(), &out, 8);
  params[8] = std::byte{0xfe};
  const u32 pair[4] = {1, 2, 3, 4};
  std::memcpy(params.data() + 16, pair, 16);
  const Fault fault = run(device, *program, "k", {1, 1}, params);
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  CHECK(out[0] == 0xfffffffe);
  CHECK(out[1] == 3);
  CHECK(out[2] == 1);
  CHECK(out[3] == 2);
  CHECK(out[4] == 4);
}

}  // namespace
}  // namespace farcall::softgpu::test
