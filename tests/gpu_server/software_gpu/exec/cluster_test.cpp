// Clusters, mbarriers that count bytes, and bulk copies.
#include <doctest/doctest.h>

#include "tests/gpu_server/software_gpu/exec/harness.h"

namespace farcall::softgpu::test {
namespace {

using u32 = std::uint32_t;
using u64 = std::uint64_t;

constexpr const char* kParams = ".param .u64 p, .param .u64 q";
constexpr const char* kHead =
    ".reg .b32 %r<40>; .reg .b64 %rd<20>; .reg .pred %p<4>; .reg .f32 %f<4>;\n"
    ".shared .align 128 .b8 room[512]; .shared .align 8 .b64 bar;\n"
    " ld.param.u64 %rd1, [p]; ld.param.u64 %rd2, [q]; mov.u32 %r1, %tid.x; mov.u32 %r2, room;\n"
    " mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x; mad.lo.u32 %r5, %r3, %r4, %r1;\n"
    " mul.wide.u32 %rd3, %r5, 4; add.s64 %rd4, %rd2, %rd3; shl.b32 %r6, %r1, 2;\n"
    " add.u32 %r7, %r2, %r6; mov.u32 %r8, bar;\n";

struct Run {
  Device device;
  u32* in = device.array<u32>(1024);
  u32* out = device.array<u32>(1024);

  Fault operator()(const std::string& body, unsigned grid, unsigned cluster,
                   const std::string& directives = "") {
    std::string text = module_of(kParams, kHead + body);
    if (!directives.empty()) {
      const std::size_t brace = text.find('{', text.find(".entry"));
      text.insert(brace, directives + "\n");
    }
    const auto program = load(device, text);
    const Status decoded = program->kernel("k")->decode();
    REQUIRE_MESSAGE(decoded.ok(), decoded.to_string());
    const std::vector<std::byte> params = pack(in, out);
    Launch launch;
    launch.kernel = program->kernel("k");
    launch.grid[0] = grid;
    launch.block[0] = 64;
    launch.cluster[0] = cluster;
    launch.params = params;
    return device.engine().run(launch);
  }
};

TEST_CASE("blocks of a cluster know their places, read each other's shared memory and wait") {
  const std::string body =
      " mad.lo.u32 %r9, %r3, 1000, %r1; st.shared.u32 [%r7], %r9;\n"
      " barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;\n"
      " mov.u32 %r10, %cluster_ctarank; mov.u32 %r11, %cluster_nctarank; add.u32 %r12, %r10, 1;\n"
      " rem.u32 %r12, %r12, %r11; mapa.shared::cluster.u32 %r13, %r7, %r12;\n"
      " ld.shared::cluster.u32 %r14, [%r13];\n"
      // The same by a generic address.
      " cvt.u64.u32 %rd5, %r7; cvta.shared.u64 %rd5, %rd5; mapa.u64 %rd6, %rd5, %r12;\n"
      " ld.u32 %r15, [%rd6]; sub.u32 %r16, %r14, %r15; getctarank.u32 %r17, %rd6;\n"
      " sub.u32 %r17, %r17, %r12; or.b32 %r16, %r16, %r17;\n"
      " cvta.to.shared::cluster.u64 %rd7, %rd6; cvt.u32.u64 %r18, %rd7;\n"
      " getctarank.shared::cluster.u32 %r19, %r18; sub.u32 %r19, %r19, %r12;\n"
      " or.b32 %r16, %r16, %r19; mov.u32 %r20, %clusterid.x; mad.lo.u32 %r20, %r20, %r11, %r10;\n"
      " sub.u32 %r20, %r20, %r3; or.b32 %r16, %r16, %r20; add.u32 %r14, %r14, %r16;\n"
      " st.global.u32 [%rd4], %r14; barrier.cluster.arrive; barrier.cluster.wait;";
  for (const unsigned cluster : {1u, 2u, 4u}) {
    Run run;
    const Fault fault = run(body, 8, cluster);
    REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
    for (u32 n = 0; n < 512; ++n) {
      const u32 block = n / 64, other = block / cluster * cluster + (block + 1) % cluster;
      CHECK(run.out[n] == other * 1000 + n % 64);
    }
  }
  Run run;
  const Fault fault = run(body, 8, 1, ".reqnctapercluster 4, 1, 1");
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  CHECK(run.out[0] == 1000);
  CHECK(run.out[3 * 64] == 0);
}

TEST_CASE("atomics and stores reach other blocks of the cluster, and no further") {
  Run run;
  const Fault fault =
      run(" st.shared.u32 [%r7], 0; barrier.cluster.arrive; barrier.cluster.wait;\n"
          " mapa.shared::cluster.u32 %r9, %r2, 1; add.u32 %r9, %r9, 4;\n"
          " atom.shared::cluster.add.u32 %r10, [%r9], 1; red.shared::cluster.add.u32 [%r9+4], 2;\n"
          " mapa.shared::cluster.u32 %r11, %r2, 0; st.shared::cluster.u32 [%r11+16], %r3;\n"
          " barrier.cluster.arrive; barrier.cluster.wait;\n"
          " ld.shared.u32 %r12, [%r7]; st.global.u32 [%rd4], %r12;",
          2, 2);
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  CHECK(run.out[1] == 0);
  CHECK(run.out[64 + 1] == 128);
  CHECK(run.out[64 + 2] == 256);
  CHECK(run.out[4] < 2);
  CHECK(run.out[64 + 4] == 0);
  const std::string third =
      " mapa.shared::cluster.u32 %r9, %r2, 2; st.shared::cluster.u32 [%r9], 1;";
  CHECK(run(third, 2, 2).kind == FaultKind::kIllegalAddress);
  CHECK(run(third, 3, 3).kind == FaultKind::kNone);
  CHECK(run(third, 3, 2).kind == FaultKind::kInvalidLaunch);
  CHECK(run(third, 32, 32).kind == FaultKind::kInvalidLaunch);
}

TEST_CASE(
    "a cluster's barrier does not wait for threads that are gone, and tells who waits in vain") {
  Run run;
  const std::string odd_leave =
      " and.b32 %r9, %r3, 1; setp.eq.u32 %p1, %r9, 1; @%p1 exit;\n"
      " barrier.cluster.arrive; barrier.cluster.wait; st.global.u32 [%rd4], 7;";
  CHECK(run(odd_leave, 4, 4).kind == FaultKind::kNone);
  CHECK(run.out[0] == 7);
  CHECK(run.out[64] == 0);
  CHECK(run.out[128] == 7);
  const std::string one_stays =
      " setp.eq.u32 %p1, %r3, 1; @%p1 bra L; barrier.cluster.arrive; barrier.cluster.wait; exit;\n"
      "L: bar.sync 1, 128;";
  CHECK(run(one_stays, 2, 2).kind == FaultKind::kLaunchTimeout);
  // Whichever of them it is.
  const std::string last_stays =
      " setp.eq.u32 %p1, %cluster_ctarank, 2; @%p1 bra L; exit;\nL: bar.sync 1, 128;";
  CHECK(run(last_stays, 3, 3).kind == FaultKind::kLaunchTimeout);
}

// Thread 0 sets up an mbarrier for one arrival and lets the block see it.
const std::string kBegin =
    " setp.ne.u32 %p1, %r1, 0; @%p1 bra A; mbarrier.init.shared::cta.b64 [%r8], 1;\n"
    "A: bar.sync 0; @%p1 bra B;\n";
const std::string kWait =
    "\nB: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r8], 0; @!%p2 bra B;\n";

TEST_CASE("a bulk copy ends a phase when its bytes are there, to one block or several") {
  Run run;
  for (u32 n = 0; n < 1024; ++n) run.in[n] = n + 1;
  Fault fault = run(kBegin +
                        " mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r8], 256;\n"
                        " mul.wide.u32 %rd5, %r3, 256; add.s64 %rd5, %rd1, %rd5;\n"
                        " cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r2], "
                        "[%rd5], 256, [%r8];" +
                        kWait + " ld.shared.u32 %r9, [%r7]; st.global.u32 [%rd4], %r9;",
                    4, 1);
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  for (u32 n = 0; n < 256; ++n) CHECK(run.out[n] == n + 1);
  fault =
      run(" setp.ne.u32 %p1, %r1, 0; @%p1 bra A; mbarrier.init.shared::cta.b64 [%r8], 1;\n"
          " mbarrier.arrive.expect_tx.shared::cta.b64 %rd9, [%r8], 256;\n"
          "A: barrier.cluster.arrive; barrier.cluster.wait; setp.ne.u32 %p3, %r5, 0; @%p3 bra B;\n"
          " .reg .b16 %h1; mov.u16 %h1, 3;\n"
          " cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
          "[%r2], [%rd1+256], 256, [%r8], %h1;" +
              kWait + " ld.shared.u32 %r9, [%r7]; st.global.u32 [%rd4], %r9;",
          2, 2);
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  for (u32 n = 0; n < 128; ++n) CHECK(run.out[n] == n % 64 + 65);
  fault =
      run(" st.shared.u32 [%r7], %r5; bar.sync 0; setp.ne.u32 %p1, %r1, 0; @%p1 exit;\n"
          " mul.wide.u32 %rd5, %r3, 256; add.s64 %rd5, %rd2, %rd5;\n"
          " cp.async.bulk.global.shared::cta.bulk_group [%rd5], [%r2], 256;\n"
          " cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;",
          3, 1);
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  for (u32 n = 0; n < 192; ++n) CHECK(run.out[n] == n);
}

TEST_CASE("phases wait for arrivals and bytes, in whatever order they come") {
  Run run;
  const Fault fault =
      run(" mbarrier.init.shared::cta.b64 [bar], 2; setp.ne.u32 %p1, %r5, 0; @%p1 exit;\n"
          " mbarrier.arrive.shared::cta.b64 %rd5, [bar]; mbarrier.complete_tx.shared::cta.b64 "
          "[bar], 16;\n"
          " mbarrier.arrive.shared::cta.b64 %rd6, [bar]; mbarrier.pending_count.b64 %r9, %rd6;\n"
          " mbarrier.test_wait.shared::cta.b64 %p2, [bar], %rd5; selp.u32 %r10, 1, 0, %p2;\n"
          " mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [bar], 16;\n"
          " mbarrier.test_wait.shared::cta.b64 %p2, [bar], %rd5; selp.u32 %r11, 1, 0, %p2;\n"
          " mbarrier.arrive_drop.shared::cta.b64 %rd7, [bar]; mbarrier.arrive.shared::cta.b64 "
          "%rd8, [bar];\n"
          " mbarrier.test_wait.shared::cta.b64 %p2, [bar], %rd7; selp.u32 %r12, 1, 0, %p2;\n"
          " mbarrier.arrive.shared::cta.b64 %rd9, [bar];\n"
          " mbarrier.test_wait.shared::cta.b64 %p2, [bar], %rd9; selp.u32 %r13, 1, 0, %p2;\n"
          " st.global.v4.u32 [%rd2], {%r9, %r10, %r11, %r12}; st.global.u32 [%rd2+16], %r13;",
          1, 1);
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  CHECK(run.out[0] == 1);  // one arrival lacked when it came
  CHECK(run.out[1] == 0);  // bytes that nobody had expected yet
  CHECK(run.out[2] == 1);
  CHECK(run.out[3] == 1);
  CHECK(run.out[4] == 1);  // alone: the other has dropped out
}

TEST_CASE("st.async and red.async count their bytes at the mbarrier of the block they write to") {
  Run run;
  const Fault fault =
      run(" setp.ne.u32 %p1, %r1, 0; st.shared.u32 [%r7], 0; @%p1 bra A;\n"
          " mbarrier.init.shared::cta.b64 [%r8], 1;\n"
          " mbarrier.arrive.expect_tx.shared::cta.b64 %rd9, [%r8], 768;\n"
          "A: barrier.cluster.arrive; barrier.cluster.wait; xor.b32 %r9, %r3, 1;\n"
          " mapa.shared::cluster.u32 %r10, %r7, %r9; mapa.shared::cluster.u32 %r11, %r8, %r9;\n"
          " st.async.shared::cluster.mbarrier::complete_tx::bytes.u32 [%r10], %r5, [%r11];\n"
          " mapa.shared::cluster.u32 %r12, %r2, %r9; mov.u64 %rd6, 1;\n"
          " st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [%r10+256], %r5, [%r11];\n"
          " red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.add.u32 [%r10], "
          "1000, [%r11];" +
              kWait + " ld.shared.u32 %r13, [%r7]; st.global.u32 [%rd4], %r13;",
          2, 2);
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  for (u32 n = 0; n < 128; ++n) CHECK(run.out[n] == (n ^ 64) + 1000);
}

TEST_CASE("bulk copies that are crooked or outside are faults; tensor copies are refused by name") {
  Run run;
  const auto copy = [&](const std::string& operands) {
    return run(" cp.async.bulk.global.shared::cta.bulk_group " + operands + ";", 1, 1).kind;
  };
  CHECK(copy("[%rd2], [%r2], 64") == FaultKind::kNone);
  CHECK(copy("[%rd2+4], [%r2], 64") == FaultKind::kMisaligned);
  CHECK(copy("[%rd2], [%r2+8], 64") == FaultKind::kMisaligned);
  CHECK(copy("[%rd2], [%r2], 40") == FaultKind::kIllegalInstruction);
  CHECK(copy("[%rd2+4096], [%r2], 64") == FaultKind::kIllegalAddress);
  CHECK(copy("[%rd2], [%r2+65536], 64") == FaultKind::kIllegalAddress);
  const auto tensor =
      load(run.device,
           module_of(kParams, std::string(kHead) +
                                  " cp.async.bulk.tensor.1d.shared::cluster.global.tile.mbarrier::"
                                  "complete_tx::bytes [%r2], [%rd1, {%r1}], [%r8];"));
  CHECK(tensor->kernel("k")->decode().code() == Code::kUnsupported);
}

}  // namespace
}  // namespace farcall::softgpu::test
