// Kernels that launch kernels, by the calls that libcudadevrt makes.
#include <doctest/doctest.h>

#include "tests/gpu_server/software_gpu/exec/harness.h"

namespace farcall::softgpu::test {
namespace {

using u32 = std::uint32_t;
using u64 = std::uint64_t;

constexpr const char* kCalls = R"(
.version 8.0
.target sm_90
.address_size 64
.extern .func (.param .b64 r) __cuda_syscall_cnpv2GetParameterBufferV2
  (.param .b64 a, .param .align 4 .b8 b[12], .param .align 4 .b8 c[12], .param .b32 d);
.extern .func (.param .b32 r) __cuda_syscall_cnpv2LaunchDeviceV2(.param .b64 a, .param .b64 b);
.extern .func (.param .b32 r) __cuda_syscall_cnpv2StreamCreate(.param .b64 a, .param .b32 b);
)";

// Launches `child`<<<grid, block>>>(list, value) and leaves the error in %r20, the buffer in %rd20.
std::string launch(const std::string& child, const std::string& grid, const std::string& block,
                   const std::string& value) {
  return " mov.u64 %rd10, " + child +
         ";\n"
         " { .param .b64 p0; .param .align 4 .b8 p1[12]; .param .align 4 .b8 p2[12];\n"
         " .param .b32 p3; .param .b64 r0; st.param.b64 [p0], %rd10;\n"
         " mov.u32 %r10, 1; mov.u32 %r11, " +
         grid + "; mov.u32 %r12, " + block +
         ";\n"
         " st.param.b32 [p1], %r11; st.param.b32 [p1+4], %r10; st.param.b32 [p1+8], %r10;\n"
         " st.param.b32 [p2], %r12; st.param.b32 [p2+4], %r10; st.param.b32 [p2+8], %r10;\n"
         " mov.u32 %r13, 0; st.param.b32 [p3], %r13;\n"
         " call.uni (r0), __cuda_syscall_cnpv2GetParameterBufferV2, (p0, p1, p2, p3);\n"
         " ld.param.b64 %rd20, [r0]; }\n"
         " setp.eq.s64 %p1, %rd20, 0; mov.u32 %r20, 99; @%p1 bra NONE" +
         value + ";\n st.u64 [%rd20], %rd1; mov.u32 %r14, " + value +
         "; st.u32 [%rd20+8], %r14;\n"
         " { .param .b64 q0; .param .b64 q1; .param .b32 r1; st.param.b64 [q0], %rd20;\n"
         " mov.u64 %rd11, 0; st.param.b64 [q1], %rd11;\n"
         " call.uni (r1), __cuda_syscall_cnpv2LaunchDeviceV2, (q0, q1);\n"
         " ld.param.b32 %r20, [r1]; }\nNONE" +
         value + ":\n";
}

constexpr const char* kRegisters =
    " .reg .b32 %r<32>; .reg .b64 %rd<32>; .reg .pred %p<4>; ld.param.u64 %rd1, [list];\n";
// Appends %r1 to the list: a count, then the numbers.
constexpr const char* kAppend =
    " atom.global.add.u32 %r2, [%rd1], 1; mul.wide.u32 %rd2, %r2, 4; add.s64 %rd2, %rd2, %rd1;\n"
    " st.global.u32 [%rd2+4], %r1;\n";

std::string entry(const std::string& name, const std::string& body) {
  return ".visible .entry " + name + "(.param .u64 list, .param .u32 value)\n{\n" + kRegisters +
         " ld.param.u32 %r1, [value];\n" + body + " ret;\n}\n";
}

struct Family {
  explicit Family(const std::string& text) : program(load(device, kCalls + text)) {
    list = device.array<u32>(4096);
  }
  Fault run(u32 value = 1, unsigned block = 1) {
    return test::run(device, *program, "parent", {1, block}, pack(list, value));
  }
  std::vector<u32> numbers() const { return {list + 1, list + 1 + list[0]}; }
  Device device;
  std::unique_ptr<Program> program;
  u32* list = nullptr;
};

TEST_CASE("children run after their parent, in order, each with its own children before the next") {
  Family family(
      entry("grandchild", kAppend) + entry("child", launch("grandchild", "1", "1", "7") + kAppend) +
      entry("parent", launch("child", "1", "1", "2") + launch("child", "1", "1", "3") + kAppend));
  const Fault fault = family.run();
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  CHECK(family.numbers() == std::vector<u32>{1, 2, 7, 3, 7});
}

TEST_CASE("the driver's calls of the first generation do the same") {
  std::string text =
      kCalls + entry("child", kAppend) + entry("parent", launch("child", "3", "5", "4"));
  const std::string present = "__cuda_syscall_cnpv2";
  for (auto at = text.find(present); at != std::string::npos; at = text.find(present)) {
    text.replace(at, present.size(), "cnp");
  }
  Device device;
  const auto program = load(device, text);
  auto* list = device.array<u32>(4096);
  const Fault fault = run(device, *program, "parent", {1, 4}, pack(list, 1u));
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  CHECK(list[0] == 4 * 3 * 5);
}

TEST_CASE("every thread's child is a grid of its own") {
  Family family(entry("child", kAppend) + entry("parent", launch("child", "3", "5", "4")));
  const Fault fault = family.run(1, 4);
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  CHECK(family.numbers() == std::vector<u32>(4 * 3 * 5, 4));
}

TEST_CASE("a launch that no device accepts is an error in the kernel, not a fault") {
  const std::string tell = " mov.u32 %r1, %r20;\n" + std::string(kAppend);
  Family family(entry("child", kAppend) +
                entry("parent", launch("child", "1", "1025", "2") + tell +
                                    launch("child", "0", "1", "3") + tell));
  const Fault fault = family.run();
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  CHECK(family.numbers() == std::vector<u32>{7, 7});  // CNP's invalid configuration
}

TEST_CASE("a kernel that launches itself ends at the greatest depth") {
  Family family(entry("parent", launch("parent", "1", "1", "2") + kAppend));
  const Fault fault = family.run();
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  CHECK(family.list[0] == 24);
}

TEST_CASE("a child's fault is the launch's, and names the child") {
  Family family(entry("child", " mov.u64 %rd3, 64; st.global.u32 [%rd3], %r1;\n") +
                entry("parent", launch("child", "1", "1", "2") + launch("child", "1", "1", "3")));
  const Fault fault = family.run();
  CHECK(fault.kind == FaultKind::kIllegalAddress);
  CHECK(fault.text.find("kernel child") != std::string::npos);
}

TEST_CASE("forged buffers, kernels and addresses get an error") {
  const auto launch_forged = [](const std::string& buffer) {
    return " mov.u64 %rd20, " + buffer +
           "; { .param .b64 q0; .param .b64 q1; .param .b32 r1;\n"
           " st.param.b64 [q0], %rd20; st.param.b64 [q1], %rd20;\n"
           " call.uni (r1), __cuda_syscall_cnpv2LaunchDeviceV2, (q0, q1); ld.param.b32 %r1, [r1];"
           " }\n" +
           kAppend;
  };
  Family family(entry("parent", launch_forged("0") + launch_forged("64") +
                                    launch_forged("0x7fc0000000000000") +
                                    launch("0x7fc0000000001230", "1", "1", "5") +
                                    " mov.u32 %r1, %r20;\n" + kAppend));
  const Fault fault = family.run();
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  CHECK(family.numbers() == std::vector<u32>{1, 1, 1, 99});
}

TEST_CASE("streams of the device are numbers, written only where the kernel may write") {
  const auto create = [](const std::string& where) {
    return " mov.u64 %rd20, " + where +
           "; { .param .b64 q0; .param .b32 q1; .param .b32 r1;\n"
           " st.param.b64 [q0], %rd20; mov.u32 %r9, 1; st.param.b32 [q1], %r9;\n"
           " call.uni (r1), __cuda_syscall_cnpv2StreamCreate, (q0, q1); ld.param.b32 %r1, [r1];"
           " }\n" +
           kAppend;
  };
  Family family(entry("parent", create("64") + " add.s64 %rd21, %rd1, 8192;\n" + create("%rd21")));
  const Fault fault = family.run();
  REQUIRE_MESSAGE(fault.kind == FaultKind::kNone, fault.text);
  CHECK(family.numbers() == std::vector<u32>{1, 0});
  CHECK(family.list[2048] == 1);
}

}  // namespace
}  // namespace farcall::softgpu::test
