// Memory of both sides among calls that are not launches: what touches it, what they leave of it.
#include <setjmp.h>
#include <signal.h>
#include <unistd.h>

#include "tests/client_shim/managed_device.h"
#include "tests/client_shim/world.h"

#ifdef FARCALL_TEST_SOFTWARE_GPU
#  include <functional>
#  include <future>

#  include "tests/client_shim/software_gpu.h"

namespace farcall::shim {
namespace {

struct Session {
  SoftwareGpu device;
  World world{device};
  CUstream stream = nullptr;
  Session() {
    world.use_device();
    CUDA_OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  }
};

// Page-locked memory with an address of the device's.
struct Mapped {
  CUdeviceptr device = 0;
  volatile unsigned* host = nullptr;
  explicit Mapped(std::size_t count) {
    void* at = nullptr;
    CUDA_OK(cuMemHostAlloc(&at, count * sizeof(unsigned), CU_MEMHOSTALLOC_DEVICEMAP));
    host = static_cast<volatile unsigned*>(at);
    CUDA_OK(cuMemHostGetDevicePointer_v2(&device, at, 0));
  }
};

// Holds a stream up until it is opened.
class StreamGate {
 public:
  explicit StreamGate(CUstream stream) { CUDA_OK(cuLaunchHostFunc(stream, wait, this)); }
  void open() { promise_.set_value(); }

 private:
  static void CUDA_CB wait(void* self) { static_cast<StreamGate*>(self)->future_.wait(); }
  std::promise<void> promise_;
  std::future<void> future_{promise_.get_future()};
};

void CUDA_CB call(void* body) { (*static_cast<std::function<void()>*>(body))(); }

}  // namespace

TEST_CASE("a host function may touch what the device wrote") {
  Session s;
  Mapped mapped(1);
  mapped.host[0] = 1;
  CUDA_OK(cuMemsetD32Async(mapped.device, 7, 1, s.stream));
  unsigned seen = 0;
  std::function<void()> read = [&] { seen = mapped.host[0]; };
  CUDA_OK(cuLaunchHostFunc(s.stream, call, &read));
  CUDA_OK(cuStreamSynchronize(s.stream));
  CHECK(seen == 7);
}

TEST_CASE("an answer may go to memory that the device has") {
  Session s;
  struct Notes {
    CUdeviceptr block;
    float ms;
    unsigned last;
  };
  Mapped mapped(sizeof(Notes) / sizeof(unsigned));
  auto* notes = reinterpret_cast<Notes*>(const_cast<unsigned*>(mapped.host));
  CUevent first = nullptr, second = nullptr;
  CUDA_OK(cuEventCreate(&first, CU_EVENT_DEFAULT));
  CUDA_OK(cuEventCreate(&second, CU_EVENT_DEFAULT));
  CUDA_OK(cuEventRecord(first, s.stream));
  CUDA_OK(cuMemsetD8Async(mapped.device, 0xff, sizeof(Notes), s.stream));
  CUDA_OK(cuEventRecord(second, s.stream));
  CUDA_OK(cuMemAlloc_v2(&notes->block, 256));
  CHECK(notes->last == ~0U);
  CUDA_OK(cuMemsetD8_v2(notes->block, 1, 256));
  CUDA_OK(cuStreamSynchronize(s.stream));
  CUDA_OK(cuMemsetD8Async(mapped.device + offsetof(Notes, ms), 0xff, sizeof(float), s.stream));
  CUDA_OK(cuEventElapsedTime(&notes->ms, first, second));
  CHECK(notes->ms >= 0);
}

TEST_CASE("a wait of one context does not make certain what another one does") {
  Session s;
  CUcontext first = nullptr, second = nullptr;
  CUDA_OK(cuCtxGetCurrent(&first));
  Mapped mapped(2);
  for (int i : {0, 1}) mapped.host[i] = 1;
  CUDA_OK(cuCtxCreate_v2(&second, 0, 0));
  CUstream stream = nullptr;
  CUDA_OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  StreamGate gate(stream);
  CUDA_OK(cuMemsetD32Async(mapped.device + 4, 5, 1, stream));
  CUDA_OK(cuCtxSetCurrent(first));
  CUDA_OK(cuCtxSynchronize());
  CHECK(mapped.host[0] == 1);
  CUDA_OK(cuCtxSetCurrent(second));
  gate.open();
  CUDA_OK(cuStreamSynchronize(stream));
  CHECK(mapped.host[1] == 5);
  CUDA_OK(cuCtxDestroy_v2(second));
}

}  // namespace farcall::shim
#endif  // FARCALL_TEST_SOFTWARE_GPU

namespace farcall::shim {
namespace {

struct WritingDevice : ManagedDevice {
  api::Driver table() {
    api::Driver driver = ManagedDevice::table();
    driver.cuStreamWriteValue32_v2 = [](CUstream, CUdeviceptr, cuuint32_t, unsigned) {
      return CUDA_SUCCESS;
    };
    return driver;
  }
};

}  // namespace

TEST_CASE("an operation in the stream that memory is attached to finds what the program wrote") {
  WritingDevice device;
  World world(device);
  world.use_device();
  CUstream stream = nullptr;
  CUDA_OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  CUdeviceptr address = 0;
  CUDA_OK(cuMemAllocManaged(&address, 64, CU_MEM_ATTACH_GLOBAL));
  CUDA_OK(cuStreamAttachMemAsync(stream, address, 0, CU_MEM_ATTACH_SINGLE));
  *reinterpret_cast<volatile char*>(address) = 3;
  CUDA_OK(cuStreamWriteValue32_v2(stream, address + 32, 1, 0));
  CHECK(*device.at(address) == 3);
}

namespace {

struct sigaction g_behind {};
void* volatile g_page = nullptr;
volatile sig_atomic_t g_opened = 0;
volatile sig_atomic_t g_chained = 0;

void open_page(int, siginfo_t* info, void*) {
  if (info->si_addr != g_page) ::_exit(3);
  g_opened = g_opened + 1;
  ::mprotect(g_page, 4096, PROT_READ | PROT_WRITE);
}

void chain(int number, siginfo_t* info, void* context) {
  g_chained = g_chained + 1;
  g_behind.sa_sigaction(number, info, context);
}

void step_aside(int, siginfo_t*, void*) {
  g_chained = g_chained + 1;
  ::sigaction(SIGSEGV, &g_behind, nullptr);
}

}  // namespace

namespace {

sigjmp_buf g_back;
void jump_back(int, siginfo_t*, void*) { siglongjmp(g_back, 1); }

// In a function of its own: what is in registers here is lost by the way back.
[[gnu::noinline]] bool ends_in_a_fault(CUdeviceptr code) {
  if (sigsetjmp(g_back, 1) != 0) return true;
  reinterpret_cast<void (*)()>(code)();
  return false;
}

}  // namespace

TEST_CASE("a jump into memory that the device has as well is a fault of the program's") {
  struct sigaction own {
  }, before{};
  own.sa_flags = SA_SIGINFO;
  own.sa_sigaction = jump_back;
  ::sigaction(SIGSEGV, &own, &before);
  {
    WritingDevice device;
    World world(device);
    world.use_device();
    CUdeviceptr address = 0;
    CUDA_OK(cuMemAllocManaged(&address, 64, CU_MEM_ATTACH_GLOBAL));
    CHECK(ends_in_a_fault(address));
    *reinterpret_cast<volatile unsigned char*>(address) = 0xc3;
    CHECK(ends_in_a_fault(address));
  }
  ::sigaction(SIGSEGV, &before, nullptr);
}

TEST_CASE("a fault goes through handlers that hand it on, and not in circles") {
  struct sigaction own {
  }, before{};
  own.sa_flags = SA_SIGINFO;
  ::sigaction(SIGSEGV, nullptr, &before);
  for (auto* handler : {chain, step_aside}) {
    WritingDevice device;
    World world(device);
    world.use_device();
    CUdeviceptr address = 0;
    own.sa_sigaction = open_page;
    ::sigaction(SIGSEGV, &own, nullptr);
    CUDA_OK(cuMemAllocManaged(&address, 64, CU_MEM_ATTACH_GLOBAL));  // the shim's comes first
    own.sa_sigaction = handler;
    ::sigaction(SIGSEGV, &own, &g_behind);
    CUDA_OK(cuMemAllocManaged(&address, 64, CU_MEM_ATTACH_GLOBAL));  // and first again
    g_page = ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_opened = 0;
    g_chained = 0;
    *static_cast<volatile char*>(g_page) = 1;
    CHECK(g_opened == 1);
    CHECK(g_chained == 1);
    ::munmap(g_page, 4096);
  }
  ::sigaction(SIGSEGV, &before, nullptr);
}

}  // namespace farcall::shim
