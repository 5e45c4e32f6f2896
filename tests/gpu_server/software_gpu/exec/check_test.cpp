// What checks find in kernels: each mistake is told with its thread and line, and a twin without
// the mistake is told nothing.
#include <doctest/doctest.h>

#include <mutex>
#include <sstream>

#include "gpu_server/software_gpu/exec/checker.h"
#include "tests/gpu_server/software_gpu/exec/harness.h"

namespace farcall::softgpu::test {
namespace {

using u32 = std::uint32_t;

// Everything in scope is checked; made before a Device.
struct Checked {
  explicit Checked(const char* words)
      : checker(CheckOptions::parse(words), [this](std::string_view text) {
          const std::lock_guard<std::mutex> held(mutex);
          told += text;
        }) {
    set_active_checker(&checker);
  }
  ~Checked() { set_active_checker(nullptr); }
  std::mutex mutex;
  std::string told;
  Checker checker;
};

constexpr const char* kHead =
    ".reg .b16 %h<8>; .reg .b32 %r<32>; .reg .b64 %rd<16>; .reg .pred %p<8>; .reg .f32 %f<8>;\n"
    "ld.param.u64 %rd1, [p]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 4;\n"
    "add.s64 %rd3, %rd1, %rd2; shl.b32 %r2, %r1, 2; mov.u32 %r3, s; add.u32 %r4, %r3, %r2;\n";

struct Outcome {
  FaultKind fault = FaultKind::kNone;
  std::string told;
  std::size_t problems = 0;
  // The PTX line that holds `word`, as reports name it.
  std::string line_of(const std::string& word) const {
    std::istringstream lines(text);
    std::string line;
    for (int number = 1; std::getline(lines, line); ++number) {
      if (line.find(word) != std::string::npos) return "PTX line " + std::to_string(number);
    }
    return "no such line";
  }
  bool tells(const std::string& what) const { return told.find(what) != std::string::npos; }
  std::string text;
};

struct Setting {
  const char* words = "1";
  Shape shape{};
  std::string outside = ".shared .align 16 .b8 s[1024];";
  std::size_t bytes = 256;
  bool written = true;  // the memory p points to
  int threads = 1;
};

Outcome run_checked(const std::string& body, const Setting& setting = {}) {
  Checked checked(setting.words);
  Device device;
  Outcome outcome;
  outcome.text = module_of(".param .u64 p", kHead + body, setting.outside);
  const auto program = load(device, outcome.text);
  auto* p = device.array<std::byte>(setting.bytes);
  if (setting.written) {
    checked.checker.watch().note_written(reinterpret_cast<std::uint64_t>(p), setting.bytes);
  }
  outcome.fault =
      run(device, *program, "k", setting.shape, pack(p), Isa::kBest, setting.threads).kind;
  outcome.told = checked.told;
  outcome.problems = checked.checker.problems();
  return outcome;
}

void is_clean(const std::string& body, const Setting& setting = {}) {
  const Outcome outcome = run_checked(body, setting);
  CHECK_MESSAGE(outcome.told.empty(), outcome.told);
  CHECK(outcome.fault == FaultKind::kNone);
}

TEST_CASE("an access behind an allocation is told with thread, line, address and neighbour") {
  const std::string body = "st.global.u32 [%rd3], %r1;";
  Setting setting;
  setting.bytes = 128;
  is_clean(body, setting);
  setting.bytes = 100;  // threads 25 to 31 are outside
  const Outcome bad = run_checked(body, setting);
  CHECK(bad.fault == FaultKind::kIllegalAddress);
  CHECK_MESSAGE(bad.tells("invalid write of 4 bytes, global memory"), bad.told);
  CHECK_MESSAGE(bad.tells("in k, " + bad.line_of("st.global.u32")), bad.told);
  CHECK_MESSAGE(bad.tells("by thread (25,0,0) of block (0,0,0)"), bad.told);
  CHECK_MESSAGE(bad.tells(": 0 bytes behind the 100 bytes at 0x"), bad.told);
  CHECK(bad.problems == 1);
}

TEST_CASE("a misaligned access, a null pointer and the end of shared memory are told") {
  const Outcome crooked = run_checked("add.s64 %rd4, %rd1, 2;\nld.global.u32 %r9, [%rd4];");
  CHECK_MESSAGE(crooked.tells("misaligned read of 4 bytes, global memory"), crooked.told);
  CHECK_MESSAGE(crooked.tells(": inside the 256 bytes at 0x"), crooked.told);
  const Outcome null = run_checked("mov.u64 %rd4, 8;\natom.global.add.u32 %r9, [%rd4], 1;");
  CHECK_MESSAGE(null.tells("invalid atomic access of 4 bytes, global memory"), null.told);
  CHECK_MESSAGE(null.tells("0x8: a null pointer"), null.told);
  const Outcome shared = run_checked("st.shared.u32 [%r4+960], %r1;");
  CHECK_MESSAGE(shared.tells("invalid write of 4 bytes, shared memory"), shared.told);
  CHECK_MESSAGE(shared.tells("by thread (16,0,0)"), shared.told);
  CHECK_MESSAGE(shared.tells("at offset 0x400 of 1024 bytes"), shared.told);
}

TEST_CASE("memory that was freed is told as such, and its address is not given out again at once") {
  Checked checked("memory");
  Device device;
  const auto program =
      load(device, module_of(".param .u64 p", std::string(kHead) + "ld.global.u32 %r9, [%rd3];",
                             ".shared .align 16 .b8 s[1024];"));
  const std::uint64_t first = device.memory().allocate(128).value();
  REQUIRE(device.memory().release(first).ok());
  CHECK(device.memory().allocate(128).value() != first);
  const Fault fault = run(device, *program, "k", {}, pack(first));
  CHECK(fault.kind == FaultKind::kIllegalAddress);
  CHECK_MESSAGE(checked.told.find("inside the 128 bytes at 0x") != std::string::npos, checked.told);
  CHECK_MESSAGE(checked.told.find(", which were freed") != std::string::npos, checked.told);
}

TEST_CASE("reads of memory that nobody wrote are told, of every kind of memory") {
  const std::string read = "ld.global.u32 %r9, [%rd3];";
  is_clean(read);
  Setting fresh;
  fresh.written = false;
  const Outcome global = run_checked(read, fresh);
  CHECK(global.fault == FaultKind::kNone);
  CHECK_MESSAGE(global.tells("read of 4 bytes that nobody wrote, global memory"), global.told);
  CHECK_MESSAGE(global.tells(global.line_of("ld.global.u32")), global.told);
  CHECK_MESSAGE(global.tells("by thread (0,0,0)"), global.told);
  CHECK(global.problems == 1);
  is_clean("st.global.u32 [%rd3], %r1;\n" + read, fresh);
  is_clean("atom.global.exch.b32 %r9, [%rd3], %r1;\n" + read, fresh);
  CHECK(run_checked("red.global.add.u32 [%rd3], %r1;", fresh).problems == 1);

  const Outcome shared = run_checked("ld.shared.u32 %r9, [%r4];");
  CHECK_MESSAGE(shared.tells("read of 4 bytes that nobody wrote, shared memory"), shared.told);
  is_clean("st.shared.u32 [%r4], %r1;\nld.shared.u32 %r9, [%r4];");
  // Generic addresses reach the same marks.
  is_clean(
      "st.shared.u32 [%r4], %r1; cvt.u64.u32 %rd5, %r4; cvta.shared.u64 %rd6, %rd5;\n"
      "ld.u32 %r9, [%rd6];");

  const std::string local = ".local .align 8 .b8 t[16];\n";
  const Outcome stack = run_checked(local + "ld.local.u32 %r9, [t+8];");
  CHECK_MESSAGE(stack.tells("read of 4 bytes that nobody wrote, local memory"), stack.told);
  is_clean(local + "st.local.u32 [t+8], %r1;\nld.local.u32 %r9, [t+8];");
}

TEST_CASE("gaps of structs are not told, elements of vectors are") {
  Setting fresh;
  fresh.written = false;
  fresh.shape.block = 1;
  is_clean("st.global.u8 [%rd1], %r1;\nld.global.u64 %rd5, [%rd1];", fresh);
  const Outcome part =
      run_checked("st.global.u32 [%rd1], %r1;\nld.global.v2.u32 {%r8, %r9}, [%rd1];", fresh);
  CHECK(part.problems == 1);
}

TEST_CASE("a second block does not know what the first one left in shared memory") {
  Setting two;
  two.shape.grid = 2;
  const std::string body =
      "mov.u32 %r5, %ctaid.x; setp.ne.u32 %p1, %r5, 0; @%p1 bra R;\nst.shared.u32 [%r4], %r1;\n"
      "R:\nld.shared.u32 %r9, [%r4];";
  const Outcome outcome = run_checked(body, two);
  CHECK_MESSAGE(outcome.tells("of block (1,0,0)"), outcome.told);
}

constexpr const char* kNeighbour =  // of 64 threads, each reads what the next one wrote
    "add.u32 %r5, %r1, 1; and.b32 %r5, %r5, 63; shl.b32 %r5, %r5, 2; add.u32 %r6, %r3, %r5;\n";

TEST_CASE("a read without a barrier behind another thread's write is a race") {
  Setting setting;
  setting.shape.block = 64;
  const std::string write = "st.shared.u32 [%r4], %r1;\n";
  const std::string read = "ld.shared.u32 %r9, [%r6];\n";
  is_clean(kNeighbour + write + "bar.sync 0;\n" + read, setting);
  const Outcome bad = run_checked(kNeighbour + write + read + "bar.sync 0;\n", setting);
  CHECK_MESSAGE(bad.tells("race: "), bad.told);
  CHECK_MESSAGE(bad.tells("no barrier lies between them"), bad.told);
  CHECK_MESSAGE(bad.tells(bad.line_of("st.shared.u32")), bad.told);
  CHECK_MESSAGE(bad.tells(bad.line_of("ld.shared.u32")), bad.told);
  // Also where the barrier is missing behind the read.
  const std::string again = "st.shared.u32 [%r4], %r2;\n";
  is_clean(kNeighbour + write + "bar.sync 0;\n" + read + "bar.sync 0;\n" + again, setting);
  const Outcome late = run_checked(kNeighbour + write + "bar.sync 0;\n" + read + again, setting);
  CHECK_MESSAGE(late.tells("race: write of 4 bytes, shared memory"), late.told);
  CHECK_MESSAGE(late.tells("with the read by thread"), late.told);
}

TEST_CASE("an mbarrier hands over what a bulk copy brought, to those who wait there") {
  Setting setting;
  setting.shape.block = 64;
  setting.outside += "\n.shared .align 8 .b64 bar;";
  const std::string copy =
      "setp.ne.u32 %p1, %r1, 0; @%p1 bra A; mbarrier.init.shared::cta.b64 [bar], 1;\n"
      "A: bar.sync 0; @%p1 bra B; mov.u32 %r9, bar;\n"
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r9], 256;\n"
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r3], [%rd1], 256, "
      "[%r9];\nB:\n";
  const std::string wait =
      "W: mbarrier.try_wait.parity.shared::cta.b64 %p2, [bar], 0; @!%p2 bra W;\n";
  const std::string read = "ld.shared.u32 %r10, [%r4];\n";
  is_clean(copy + wait + read, setting);
  const Outcome bad = run_checked(copy + read, setting);
  CHECK_MESSAGE(bad.tells("race: "), bad.told);
}

TEST_CASE("lanes of a warp are ordered by bar.warp.sync and shuffles, not by running in step") {
  const std::string write = "st.shared.u32 [%r4], %r1;\n";
  const std::string read =
      "xor.b32 %r5, %r2, 4; add.u32 %r6, %r3, %r5;\nld.shared.u32 %r9, [%r6];\n";
  CHECK(run_checked(write + read).problems == 1);
  is_clean(write + "bar.warp.sync 0xffffffff;\n" + read);
  is_clean(write + "shfl.sync.idx.b32 %r8, %r1, 0, 31, 0xffffffff;\n" + read);
  // Halves of a warp, each among its own lanes.
  const std::string halves =
      "setp.lt.u32 %p1, %r1, 16; selp.b32 %r7, 0x0000ffff, 0xffff0000, %p1;\n";
  is_clean(halves + write + "bar.warp.sync %r7;\n" + read);
  const std::string across =
      "xor.b32 %r5, %r2, 64; add.u32 %r6, %r3, %r5;\nld.shared.u32 %r9, [%r6];\n";
  CHECK(run_checked(halves + write + "bar.warp.sync %r7;\n" + across).problems == 1);
}

TEST_CASE("two stores of different values race; of the same value, or atomics, they do not") {
  CHECK(run_checked("st.shared.u32 [%r3], %r1;").problems == 1);
  is_clean("mov.u32 %r9, 7;\nst.shared.u32 [%r3], %r9;");
  Setting setting;
  setting.shape.block = 64;
  is_clean(
      "setp.ne.u32 %p1, %r1, 0;\n@%p1 bra W;\nst.shared.u32 [%r3], 0;\nW:\nbar.sync 0;\n"
      "red.shared.add.u32 [%r3], 1;\nbar.sync 0;\nld.shared.u32 %r9, [%r3];",
      setting);
  const Outcome mixed = run_checked(
      "setp.ne.u32 %p1, %r1, 0;\n@%p1 bra W;\nst.shared.u32 [%r3], 5;\nW:\n"
      "red.shared.add.u32 [%r3], 1;\nbar.sync 0;",
      setting);
  CHECK_MESSAGE(mixed.tells("race: "), mixed.told);
}

TEST_CASE("bytes that share a word do not race") {
  is_clean("add.u32 %r5, %r3, %r1;\nst.shared.u8 [%r5], %r1;\nld.shared.u8 %r9, [%r5];");
}

TEST_CASE("a flag, a lock and a named barrier hand over what was written before") {
  Setting setting;
  setting.shape.block = 64;
  const std::string roles =
      "setp.eq.u32 %p1, %r1, 0; setp.eq.u32 %p2, %r1, 32;\n"
      "@%p1 st.volatile.shared.u32 [%r3+512], 0;\nbar.sync 0;\n";
  const std::string write = "@%p1 st.shared.u32 [%r3], 7;\n";
  const std::string read = "@%p2 ld.shared.u32 %r9, [%r3];\n";
  is_clean(
      roles + write +
          "membar.cta;\n@%p1 st.volatile.shared.u32 [%r3+512], 1;\n@!%p2 bra E;\n"
          "W:\nld.volatile.shared.u32 %r8, [%r3+512];\nsetp.eq.u32 %p3, %r8, 0;\n@%p3 bra W;\n" +
          read + "E:",
      setting);
  const Outcome loose = run_checked(roles + write + read, setting);
  CHECK_MESSAGE(loose.tells("race: "), loose.told);
  // The first warp arrives, the second waits.
  is_clean(roles + write + "setp.lt.u32 %p4, %r1, 32;\n@%p4 bra A;\nbar.sync 1, 64;\n" + read +
               "bra E;\nA:\nbar.arrive 1, 64;\nE:",
           setting);
}

TEST_CASE(
    "parameters of device functions may be passed on unwritten, their stack may not be read") {
  const std::string callee =
      ".shared .align 16 .b8 s[1024];\n"
      ".func (.param .b32 out) f(.param .align 8 .b8 in[8])\n{\n .reg .b32 %r<4>;\n"
      " .local .align 4 .b8 t[8];\n ld.param.b32 %r1, [in];\n ld.param.b32 %r2, [in+4];\n"
      " STACK\n st.param.b32 [out], %r1;\n ret;\n}\n";
  const std::string body =
      "{ .param .align 8 .b8 a[8]; .param .b32 o;\n st.param.b32 [a], %r1;\n"
      " call.uni (o), f, (a);\n ld.param.b32 %r9, [o]; }\n";
  const auto with = [&](const std::string& stack) {
    Setting setting;
    setting.outside = callee;
    setting.outside.replace(setting.outside.find("STACK"), 5, stack);
    return run_checked(body, setting);
  };
  const Outcome clean = with("");
  CHECK_MESSAGE(clean.problems == 0, clean.told);
  const Outcome bad = with("ld.local.b32 %r3, [t];");
  CHECK_MESSAGE(bad.tells(bad.line_of("ld.local.b32 %r3, [t]") + " of f"), bad.told);
}

TEST_CASE("a kind of check that was not asked for is not made") {
  Setting setting;
  setting.written = false;
  setting.words = "memory";
  is_clean("ld.global.u32 %r9, [%rd3];", setting);
  is_clean("st.shared.u32 [%r3], %r1;", setting);
}

TEST_CASE("one instruction is told once, and the sum names problems and kernels") {
  Checked checked("1");
  Device device;
  const auto program =
      load(device, module_of(".param .u64 p", std::string(kHead) + "ld.shared.u32 %r9, [%r4];",
                             ".shared .align 16 .b8 s[1024];"));
  for (int n = 0; n < 3; ++n) run(device, *program, "k", {8, 128}, pack(std::uint64_t{0}));
  CHECK(checked.checker.problems() == 1);
  checked.told.clear();
  checked.checker.tell_summary();
  CHECK_MESSAGE(checked.told.starts_with("========= 1 problem found in 1 kernel"), checked.told);
}

TEST_CASE("words choose checks; unknown ones choose nothing") {
  CHECK_FALSE(CheckOptions::parse(nullptr).any());
  CHECK_FALSE(CheckOptions::parse("0").any());
  CHECK_FALSE(CheckOptions::parse("sometimes").any());
  const CheckOptions all = CheckOptions::parse("1");
  CHECK((all.memory && all.init && all.race && !all.leak));
  const CheckOptions two = CheckOptions::parse("race,leak");
  CHECK((!two.memory && !two.init && two.race && two.leak));
}

TEST_CASE("the source line of a PTX line is the last .loc of its function") {
  const std::string text =
      ".version 8.0\n.visible .entry a()\n{\n.loc 1 10 3\nadd;\n.loc 2 20 1, function_name x\n"
      "sub;\n}\n.visible .entry b()\n{\nmul;\n}\n"
      ".file 1 \"/home/ana/a.cu\"\n.file 2 \"b.h\"\n";
  CHECK(source_of(text, 5) == "a.cu:10");
  CHECK(source_of(text, 7) == "b.h:20");
  CHECK(source_of(text, 11) == "");
  CHECK(source_of(text, 1) == "");
}

TEST_CASE("each device gets back the freed memory that was held back of it, and in time") {
  const Checked checked("1");
  constexpr std::size_t kLimit = std::size_t{64} << 20, kPiece = std::size_t{1} << 20;
  auto first = Memory::create(kLimit), second = Memory::create(kLimit);
  REQUIRE(first.ok());
  REQUIRE(second.ok());
  std::uint64_t lowest[2] = {};
  for (int round = 0; round < 600; ++round) {
    Memory* const memories[] = {first.value().get(), second.value().get()};
    for (int device : {0, 1}) {
      if (device == 1 && round % 2 == 0) continue;
      auto address = memories[device]->allocate(kPiece);
      REQUIRE(address.ok());
      if (lowest[device] == 0) lowest[device] = address.value();
      REQUIRE(address.value() - lowest[device] < 4 * kLimit);
      REQUIRE(memories[device]->release(address.value()).ok());
    }
  }
}

}  // namespace
}  // namespace farcall::softgpu::test
