// Host memory that the device has as well: registered in pieces, and beyond the end of a context.
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <optional>
#include <string>
#include <thread>

#include "client_shim/host_pages.h"
#include "client_shim/host_uses.h"
#include "tests/client_shim/world.h"

#ifdef FARCALL_TEST_SOFTWARE_GPU
#  include "tests/client_shim/software_gpu.h"

namespace farcall::shim {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 20;

struct Session {
  SoftwareGpu device;
  World world{device};
  Session() { world.use_device(); }
};

// The program's own memory, registered in adjacent pieces, and a block on the device of its size.
struct Pieces {
  static constexpr std::size_t kBytes = 3 * kPiece;
  unsigned char* host = nullptr;
  CUdeviceptr twins[2] = {};  // of the first two; nobody has the third
  CUdeviceptr block = 0;

  Pieces() {
    void* at = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(at != MAP_FAILED);
    host = static_cast<unsigned char*>(at);
    for (std::size_t i = 0; i < 2; ++i) {
      CUDA_OK(cuMemHostRegister_v2(host + i * kPiece, kPiece, CU_MEMHOSTREGISTER_DEVICEMAP));
      CUDA_OK(cuMemHostGetDevicePointer_v2(&twins[i], host + i * kPiece, 0));
    }
    CUDA_OK(cuMemAlloc_v2(&block, kBytes));
    CUDA_OK(cuMemsetD8_v2(block, 5, kBytes));
  }
  ~Pieces() {
    for (std::size_t i = 0; i < 2; ++i) CHECK(cuMemHostUnregister(host + i * kPiece) == 0);
    ::munmap(host, kBytes);
  }
  // The device writes to the pieces, so they are closed here.
  void write_on_device(unsigned char value) {
    for (CUdeviceptr twin : twins) CUDA_OK(cuMemsetD8_v2(twin, value, kPiece));
  }
  void check_block(std::size_t at, unsigned char value) const {
    unsigned char byte = 0;
    CUDA_OK(cuMemcpyDtoH_v2(&byte, block + at, 1));
    CHECK(byte == value);
  }
};

}  // namespace

TEST_CASE("a copy may go over memory that was registered in pieces, and past the last") {
  Session s;
  Pieces pieces;
  for (std::size_t bytes : {2 * kPiece, 3 * kPiece}) {
    pieces.write_on_device(1);
    CUDA_OK(cuMemcpyDtoH_v2(pieces.host, pieces.block, bytes));
    CHECK(pieces.host[0] == 5);
    CHECK(pieces.host[kPiece] == 5);
    CHECK(pieces.host[bytes - 1] == 5);
    pieces.write_on_device(7);
    pieces.host[3 * kPiece - 1] = 8;
    CUDA_OK(cuMemcpyHtoDAsync_v2(pieces.block, pieces.host, bytes, nullptr));
    pieces.check_block(0, 7);
    pieces.check_block(2 * kPiece - 1, 7);
    pieces.check_block(3 * kPiece - 1, bytes == 3 * kPiece ? 8 : 5);
    CUDA_OK(cuMemsetD8_v2(pieces.block, 5, Pieces::kBytes));
  }
}

TEST_CASE("rows may lie in memory that was registered in pieces") {
  Session s;
  Pieces pieces;
  CUDA_MEMCPY2D copy{};
  copy.srcMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.srcDevice = pieces.block;
  copy.srcPitch = 2048;
  copy.dstMemoryType = CU_MEMORYTYPE_HOST;
  copy.dstHost = pieces.host;
  copy.dstPitch = 4096;
  copy.WidthInBytes = 2048;
  copy.Height = 2 * kPiece / 4096;
  pieces.write_on_device(1);
  CUDA_OK(cuMemcpy2D_v2(&copy));
  for (std::size_t at = 0; at < 2 * kPiece; at += 4096) REQUIRE(pieces.host[at + 2047] == 5);
  CHECK(pieces.host[2048] == 1);
  pieces.write_on_device(6);
  std::swap(copy.srcPitch, copy.dstPitch);
  copy.srcMemoryType = CU_MEMORYTYPE_HOST;
  copy.srcHost = pieces.host;
  copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.dstDevice = pieces.block;
  CUDA_OK(cuMemcpy2D_v2(&copy));
  pieces.check_block(0, 6);
  pieces.check_block(kPiece - 1, 6);
  pieces.check_block(kPiece, 5);
}

TEST_CASE("the device's address of registered memory is known for what it is") {
  Session s;
  Pieces pieces;
  const CUdeviceptr at = pieces.twins[1] + 16;
  unsigned type = 0;
  void* host = nullptr;
  CUdeviceptr device = 0;
  CUDA_OK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, at));
  CHECK(type == CU_MEMORYTYPE_HOST);
  CUDA_OK(cuPointerGetAttribute(&host, CU_POINTER_ATTRIBUTE_HOST_POINTER, at));
  CHECK(host == pieces.host + kPiece + 16);
  CUDA_OK(cuPointerGetAttribute(&device, CU_POINTER_ATTRIBUTE_DEVICE_POINTER, at));
  CHECK(device == at);
  pieces.host[kPiece + 16] = 9;
  CUDA_OK(cuMemcpy(pieces.block, at, 100));  // it says nothing of what it is
  pieces.check_block(0, 9);
  CHECK(cuMemFree_v2(pieces.twins[1]) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("host memory that a context had as well outlives it") {
  Session s;
  CUcontext primary = nullptr, context = nullptr;
  CUDA_OK(cuCtxGetCurrent(&primary));
  CUDA_OK(cuCtxCreate_v2(&context, 0, 0));
  {
    Pieces pieces;
    void* allocated = nullptr;
    CUDA_OK(cuMemHostAlloc(&allocated, 4096, CU_MEMHOSTALLOC_DEVICEMAP));
    *static_cast<volatile int*>(allocated) = 3;
    pieces.write_on_device(4);
    SUBCASE("and is written to by the program") { pieces.host[1] = 4; }
    SUBCASE("and is only the device's") {}
    CUDA_OK(cuCtxDestroy_v2(context));
    CUDA_OK(cuCtxSetCurrent(primary));
    CHECK(!current_client()->mirrors().any());
    CHECK(pieces.host[0] == 4);
    CHECK(pieces.host[2 * kPiece - 1] == 4);
    CHECK(*static_cast<volatile int*>(allocated) == 3);
    CUdeviceptr other = 0;
    CUDA_OK(cuMemAlloc_v2(&other, 64));
    CUDA_OK(cuMemsetD8_v2(other, 1, 64));
    // Another context may have it now.
    CUDA_OK(cuMemHostGetDevicePointer_v2(&pieces.twins[0], pieces.host, 0));
    CUDA_OK(cuMemsetD8_v2(pieces.twins[0], 2, kPiece));
    CHECK(pieces.host[0] == 2);
    CUDA_OK(cuMemFreeHost(allocated));
  }
  CHECK(!current_client()->mirrors().any());
}

}  // namespace farcall::shim
#endif  // FARCALL_TEST_SOFTWARE_GPU

namespace farcall::shim {
namespace {

alignas(64) unsigned char g_memory[2][4096];
std::uint64_t address(int which) { return reinterpret_cast<std::uint64_t>(g_memory[which]); }

struct Uses : HostUses {
  Uses() { registered().add(address(0), sizeof g_memory); }
};

// A thread that one can wait for until it waits itself, or has ended.
class Sleeper {
 public:
  template <class Body>
  explicit Sleeper(Body body)
      : thread_([this, body] {
          id_ = ::gettid();
          id_.notify_one();
          body();
        }) {}
  ~Sleeper() { thread_.join(); }
  void await() {
    id_.wait(0);
    const std::string file = "/proc/self/task/" + std::to_string(id_.load()) + "/stat";
    for (char state = 'R'; state != 'S' && state != 'Z';) {
      std::string told;
      std::getline(std::ifstream(file), told);
      const std::size_t name_end = told.rfind(')');
      state = name_end == std::string::npos ? 'Z' : told[name_end + 2];
    }
  }

 private:
  std::atomic<pid_t> id_{0};
  std::thread thread_;
};

}  // namespace

TEST_CASE("memory becomes the device's while copies go on in other memory") {
  Uses uses;
  HostUses::Use use(uses, g_memory[0], 4096);
  std::thread([&] { HostUses::Change change(uses, address(1), 4096); }).join();
}

TEST_CASE("a copy of a thread that makes none yet waits behind memory that becomes the device's") {
  Uses uses;
  std::atomic<bool> changed{false}, used{false};
  std::optional<HostUses::Use> use(std::in_place, uses, g_memory[0], 4096);
  Sleeper change([&] {
    HostUses::Change alone(uses, address(0), 4096);
    changed = true;
  });
  change.await();
  Sleeper late([&] {
    HostUses::Use its(uses, g_memory[0], 64);
    used = true;
    CHECK(changed);
  });
  late.await();
  CHECK(!changed);
  CHECK(!used);
  HostUses::Use other(uses, g_memory[1], 64);
  { HostUses::Use inside(uses, g_memory[0], 64); }  // of a thread that the change waits for
  use.reset();
}

#ifndef __SANITIZE_THREAD__  // whose own mappings follow those of the program
TEST_CASE("many small blocks of page-locked memory cost few mappings") {
  auto mappings = [] {
    std::size_t count = 0;
    std::FILE* maps = std::fopen("/proc/self/maps", "re");
    REQUIRE(maps != nullptr);
    for (int c = 0; (c = std::fgetc(maps)) != EOF;) count += c == '\n' ? 1 : 0;
    std::fclose(maps);
    return count;
  };
  const std::size_t before = mappings();
  std::vector<void*> blocks(20'000);
  for (void*& block : blocks) {
    block = take_host_pages(4096);
    REQUIRE(block != nullptr);
    *static_cast<char*>(block) = 1;
  }
  CHECK(mappings() - before < 6'000);
  for (void* block : blocks) give_back_host_pages(block, 4096);
  CHECK(mappings() < before + 100);
  void* next = take_host_pages(4096);  // alone in its step again
  CHECK(reinterpret_cast<std::uint64_t>(next) % (std::uint64_t{2} << 20) == 0);
  give_back_host_pages(next, 4096);
}
#endif

}  // namespace farcall::shim
