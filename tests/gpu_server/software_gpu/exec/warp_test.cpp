// Divergence, shuffles, votes and warp barriers.
#include <doctest/doctest.h>

#include "tests/gpu_server/software_gpu/exec/harness.h"

namespace farcall::softgpu::test {
namespace {

using u32 = std::uint32_t;

constexpr const char* kRegisters =
    ".reg .b32 %r<32>; .reg .b64 %rd<16>; .reg .pred %p<8>; .reg .f32 %f<8>;\n"
    " ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 4;\n"
    " add.s64 %rd3, %rd1, %rd2;\n";

// Runs a body that leaves %r0; returns one word per thread.
std::vector<u32> words(const std::string& body, unsigned threads, Isa isa = Isa::kBest) {
  Device device;
  u32* out = device.array<u32>(threads);
  const auto program = load(
      device, module_of(".param .u64 out", kRegisters + body + "\n st.global.u32 [%rd3], %r0;"));
  const Fault fault = run(device, *program, "k", {1, threads}, pack(out), isa);
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  return std::vector<u32>(out, out + threads);
}

TEST_CASE("lanes that take different ways meet again") {
  for (const Isa isa : kIsas) {
    const auto got = words(
        " mov.u32 %r0, 0; and.b32 %r2, %r1, 3; setp.eq.u32 %p1, %r2, 0; @%p1 bra A;\n"
        " setp.eq.u32 %p2, %r2, 1; @%p2 bra B; add.u32 %r0, %r0, 100; bra.uni C;\n"
        "A: add.u32 %r0, %r0, 1; bra.uni C;\nB: add.u32 %r0, %r0, 10;\n"
        "C: activemask.b32 %r3; popc.b32 %r4, %r3; mad.lo.u32 %r0, %r4, 1000, %r0;",
        64, isa);
    for (u32 t = 0; t < 64; ++t) {
      const u32 way = (t & 3) == 0 ? 1u : (t & 3) == 1 ? 10u : 100u;
      CHECK(got[t] == 32000 + way);
    }
  }
}

TEST_CASE("a loop runs as often as each lane asks") {
  const auto got = words(
      " mov.u32 %r0, 0; mov.u32 %r2, 0;\n"
      "L: setp.ge.u32 %p1, %r2, %r1; @%p1 bra D; add.u32 %r2, %r2, 1; add.u32 %r0, %r0, %r2;\n"
      " bra.uni L;\nD: ",
      96);
  for (u32 t = 0; t < 96; ++t) CHECK(got[t] == t * (t + 1) / 2);
}

TEST_CASE("brx.idx sends each lane to its own target") {
  const auto got = words(
      " and.b32 %r2, %r1, 3; T: .branchtargets A, B, C, A;\n brx.idx %r2, T;\n"
      "A: mov.u32 %r0, 11; bra.uni E;\nB: mov.u32 %r0, 22; bra.uni E;\nC: mov.u32 %r0, 33;\nE: ",
      32);
  const u32 want[] = {11, 22, 33, 11};
  for (u32 t = 0; t < 32; ++t) CHECK(got[t] == want[t & 3]);
}

u32 shuffled(const std::string& mode, u32 lane, u32 b, u32 c) {
  const u32 clamp = c & 31, segment = c >> 8 & 31;
  const int max_lane = static_cast<int>((lane & segment) | (clamp & ~segment));
  int j = 0;
  bool valid = false;
  if (mode == "up") {
    j = static_cast<int>(lane) - static_cast<int>(b);
    valid = j >= max_lane;
  } else {
    j = static_cast<int>(mode == "down"   ? lane + b
                         : mode == "bfly" ? (lane ^ b)
                                          : ((lane & segment) | (b & ~segment)));
    valid = j <= max_lane;
  }
  return (valid ? static_cast<u32>(j) : lane) * 2 + (valid ? 1 : 0);
}

TEST_CASE("shuffles respect clamp and segments") {
  struct Form {
    const char* mode;
    u32 b, c;
  };
  const Form forms[] = {{"down", 1, 0x1f}, {"down", 16, 0x1f}, {"down", 3, 0x181f},
                        {"up", 1, 0},      {"up", 5, 0},       {"up", 2, 0x1800},
                        {"bfly", 1, 0x1f}, {"bfly", 16, 0x1f}, {"bfly", 7, 0x181f},
                        {"idx", 0, 0x1f},  {"idx", 31, 0x1f},  {"idx", 5, 0x1c1f},
                        {"idx", 9, 0x0f},  {"down", 4, 0x0f}};
  for (const Isa isa : kIsas) {
    for (const Form& form : forms) {
      const auto got = words(" shfl.sync." + std::string(form.mode) + ".b32 %r2|%p1, %r1, " +
                                 std::to_string(form.b) + ", " + std::to_string(form.c) +
                                 ", -1; selp.u32 %r3, 1, 0, %p1; mad.lo.u32 %r0, %r2, 2, %r3;",
                             32, isa);
      for (u32 t = 0; t < 32; ++t) {
        CHECK_MESSAGE(got[t] == shuffled(form.mode, t, form.b, form.c), form.mode);
      }
    }
  }
}

TEST_CASE("votes, match and redux over member masks") {
  const auto ballot = words(" setp.lt.u32 %p1, %r1, 5; vote.sync.ballot.b32 %r0, %p1, -1;", 32);
  CHECK(ballot[7] == 0x1f);
  const auto mixed = words(
      " setp.lt.u32 %p1, %r1, 16; @!%p1 bra E; setp.ge.u32 %p2, %r1, 0;\n"
      " vote.sync.all.pred %p3, %p2, 0xffff; vote.sync.any.pred %p4, !%p2, 0xffff;\n"
      " selp.u32 %r2, 1, 0, %p3; selp.u32 %r3, 2, 0, %p4; or.b32 %r0, %r2, %r3; bra F;\n"
      "E: mov.u32 %r0, 9;\nF: ",
      32);
  CHECK(mixed[3] == 1);
  CHECK(mixed[20] == 9);
  const auto match = words(" and.b32 %r2, %r1, 3; match.any.sync.b32 %r0, %r2, -1;", 32);
  CHECK(match[5] == 0x22222222);
  const auto sum = words(" redux.sync.add.s32 %r0, %r1, -1;", 32);
  CHECK(sum[0] == 496);
  const auto top = words(" redux.sync.max.u32 %r0, %r1, -1;", 32);
  CHECK(top[31] == 31);
}

TEST_CASE("tiles of a warp vote, match and reduce each on their own") {
  const std::string tile =
      " shr.u32 %r2, %r1, 3; shl.b32 %r3, %r2, 3; mov.u32 %r4, 0xff; shl.b32 %r4, %r4, %r3;\n"
      " and.b32 %r5, %r1, 1; setp.eq.u32 %p1, %r5, 1; setp.lt.u32 %p2, %r1, 20;\n";
  const auto ballot = words(tile + " vote.sync.ballot.b32 %r0, %p1, %r4;", 32);
  const auto all = words(tile + " vote.sync.all.pred %p3, %p2, %r4; selp.u32 %r0, 1, 0, %p3;", 32);
  const auto any = words(tile + " vote.sync.any.pred %p3, %p2, %r4; selp.u32 %r0, 1, 0, %p3;", 32);
  const auto sum = words(tile + " redux.sync.add.u32 %r0, %r1, %r4;", 32);
  const auto match = words(tile + " match.any.sync.b32 %r0, %r5, %r4;", 32);
  const auto same =
      words(tile + " match.all.sync.b32 %r0|%p3, %r2, %r4; @!%p3 mov.u32 %r0, 7;", 32);
  for (u32 t = 0; t < 32; ++t) {
    const u32 first = t / 8 * 8;
    CHECK(ballot[t] == 0xaau << first);
    CHECK(all[t] == (t < 16 ? 1 : 0));
    CHECK(any[t] == (t < 24 ? 1 : 0));
    CHECK(sum[t] == first * 8 + 28);
    CHECK(match[t] == ((t & 1) != 0 ? 0xaau : 0x55u) << first);
    CHECK(same[t] == 0xffu << first);
  }
}

TEST_CASE("a shuffle from a lane that does not take part brings 0") {
  const auto got = words(
      " mov.u32 %r2, 1; setp.ge.u32 %p1, %r1, 8; @%p1 bra E;\n"
      " shfl.sync.down.b32 %r0, %r2, 16, 31, 0xff; shfl.sync.down.b32 %r3, %r2, 4, 31, 0xff;\n"
      " mad.lo.u32 %r0, %r3, 10, %r0;\nE: ",
      32);
  CHECK(got[0] == 10);
  CHECK(got[5] == 0);
}

TEST_CASE("lanes wait for the members of a warp-wide instruction") {
  // Odd lanes arrive late: they first do something the even ones do not.
  const auto got = words(
      " mov.u32 %r2, %r1; and.b32 %r3, %r1, 1; setp.eq.u32 %p1, %r3, 1; @%p1 bra ODD;\n"
      " shfl.sync.bfly.b32 %r0, %r2, 1, 31, -1; bra.uni E;\n"
      "ODD: add.u32 %r2, %r2, 100; bar.warp.sync 0xaaaaaaaa;\n"
      " shfl.sync.bfly.b32 %r0, %r2, 1, 31, -1;\nE: ",
      32);
  // Different instructions: undefined values, but nobody hangs and every lane stores.
  CHECK(got.size() == 32);
  const auto joined = words(
      " mov.u32 %r2, %r1; and.b32 %r3, %r1, 1; setp.eq.u32 %p1, %r3, 0; @%p1 bra E;\n"
      " add.u32 %r2, %r2, 100;\nE: bar.warp.sync -1; shfl.sync.bfly.b32 %r0, %r2, 1, 31, -1;",
      32);
  for (u32 t = 0; t < 32; ++t) CHECK(joined[t] == ((t ^ 1) & 1 ? (t ^ 1) + 100 : (t ^ 1)));
}

TEST_CASE("lanes that have exited are not waited for") {
  const auto got = words(
      " mov.u32 %r0, 77; setp.lt.u32 %p1, %r1, 8; @!%p1 st.global.u32 [%rd3], %r0; @!%p1 exit;\n"
      " shfl.sync.idx.b32 %r0, %r1, 3, 31, -1; vote.sync.ballot.b32 %r2, %p1, -1;\n"
      " add.u32 %r0, %r0, %r2;",
      32);
  CHECK(got[0] == 3 + 0xff);
  CHECK(got[31] == 77);
}

TEST_CASE("special registers tell each thread who it is") {
  const auto lanes = words(
      " mov.u32 %r2, %laneid; mov.u32 %r3, %lanemask_lt; mov.u32 %r4, %warpid;\n"
      " popc.b32 %r5, %r3; mad.lo.u32 %r0, %r2, 1000, %r5; mad.lo.u32 %r0, %r4, 100000, %r0;",
      64);
  CHECK(lanes[37] == 100000 + 5 * 1000 + 5);
  const auto clock = words(
      " mov.u64 %rd4, %clock64; mov.u64 %rd5, %clock64; setp.ge.u64 %p1, %rd5, %rd4;\n"
      " mov.u64 %rd6, %globaltimer; setp.ne.and.u64 %p1, %rd6, 0, %p1; selp.u32 %r0, 1, 0, %p1;",
      1);
  CHECK(clock[0] == 1);
  Device device;
  u32* out = device.array<u32>(24 * 6);
  const auto program = load(
      device, module_of(".param .u64 out",
                        " .reg .b32 %r<32>; .reg .b64 %rd<8>;\n ld.param.u64 %rd1, [out];\n"
                        " mov.u32 %r1, %tid.x; mov.u32 %r2, %tid.y; mov.u32 %r3, %tid.z;\n"
                        " mov.u32 %r4, %ntid.x; mov.u32 %r5, %ntid.y; mov.u32 %r6, %ntid.z;\n"
                        " mov.u32 %r7, %ctaid.x; mov.u32 %r8, %ctaid.y; mov.u32 %r9, %nctaid.x;\n"
                        " mad.lo.u32 %r10, %r3, %r5, %r2; mad.lo.u32 %r10, %r10, %r4, %r1;\n"
                        " mad.lo.u32 %r11, %r8, %r9, %r7; mul.lo.u32 %r12, %r4, %r5;\n"
                        " mul.lo.u32 %r12, %r12, %r6; mad.lo.u32 %r13, %r11, %r12, %r10;\n"
                        " mul.wide.u32 %rd2, %r13, 4; add.s64 %rd1, %rd1, %rd2;\n"
                        " add.u32 %r13, %r13, 1; st.global.u32 [%rd1], %r13;"));
  Launch launch;
  launch.kernel = program->kernel("k");
  launch.grid[0] = 3;
  launch.grid[1] = 2;
  launch.block[0] = 3;
  launch.block[1] = 4;
  launch.block[2] = 2;
  const auto params = pack(out);
  launch.params = params;
  const Fault fault = device.engine().run(launch);
  CHECK_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  for (u32 n = 0; n < 24 * 6; ++n) CHECK(out[n] == n + 1);
}

}  // namespace
}  // namespace farcall::softgpu::test
