// Linking at run time: inputs leave this process, logs and the linked image come back to it.
#include <cstdio>
#include <fstream>

#include "tests/client_shim/world.h"

using namespace farcall;
using namespace farcall::shim;

namespace {

// A linker that puts its inputs one behind the other, and says so.
class LinkDevice : public FakeDevice {
 public:
  LinkDevice() { one() = this; }
  ~LinkDevice() { one() = nullptr; }
  api::Driver table() {
    api::Driver driver = FakeDevice::table();
    driver.cuLinkCreate_v2 = [](unsigned count, CUjit_option* names, void** values,
                                CUlinkState* state) {
      for (unsigned i = 0; i < count; ++i) {
        const auto number = reinterpret_cast<std::uintptr_t>(values[i]);
        if (names[i] == CU_JIT_INFO_LOG_BUFFER) one()->info.at = static_cast<char*>(values[i]);
        if (names[i] == CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES) one()->info.bytes = number;
        if (names[i] == CU_JIT_ERROR_LOG_BUFFER) one()->error.at = static_cast<char*>(values[i]);
        if (names[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES) one()->error.bytes = number;
        if (names[i] == CU_JIT_MAX_REGISTERS) one()->registers = number;
      }
      return *state = kState, CUDA_SUCCESS;
    };
    driver.cuLinkAddData_v2 = [](CUlinkState state, CUjitInputType type, void* data,
                                 std::size_t bytes, const char* name, unsigned, CUjit_option*,
                                 void**) {
      CHECK(state == kState);
      one()->image.append(static_cast<char*>(data), bytes);
      one()->names += name != nullptr ? name : "-";
      if (type == CU_JIT_INPUT_OBJECT) {
        one()->error.say("no object, please");
        return CUDA_ERROR_INVALID_PTX;
      }
      one()->info.say("added");
      return CUDA_SUCCESS;
    };
    driver.cuLinkComplete = [](CUlinkState, void** image, std::size_t* bytes) {
      if (one()->fail_complete) return CUDA_ERROR_INVALID_IMAGE;
      *image = one()->image.data();
      *bytes = one()->image.size();
      return CUDA_SUCCESS;
    };
    driver.cuLinkDestroy = [](CUlinkState) { return ++one()->destroyed, CUDA_SUCCESS; };
    return driver;
  }

  static inline const auto kState = reinterpret_cast<CUlinkState>(0x6000);
  std::string image;
  std::string names;
  struct Log {
    void say(const char* text) const {
      if (at != nullptr) std::snprintf(at, bytes, "%s", text);
    }
    char* at = nullptr;
    std::size_t bytes = 0;
  };
  Log info;
  Log error;
  std::uintptr_t registers = 0;
  std::atomic<bool> fail_complete{false};
  std::atomic<int> destroyed{0};

 private:
  static LinkDevice*& one() {
    static LinkDevice* the_one = nullptr;
    return the_one;
  }
};

struct Program : World {
  explicit Program(LinkDevice& device) : World(device) { use_device(); }
};

CUresult add(CUlinkState link, const std::string& text, const char* name = nullptr,
             CUjitInputType type = CU_JIT_INPUT_PTX) {
  std::string own = text;
  return cuLinkAddData_v2(link, type, own.data(), own.size(), name, 0, nullptr, nullptr);
}

// A file of this test's.
struct File {
  explicit File(const std::string& text) { std::ofstream(path) << text; }
  ~File() { std::remove(path); }
  const char* path = "farcall-link-test.ptx";
};

}  // namespace

TEST_CASE("inputs are linked where the GPU is, and the image is here until the link is destroyed") {
  LinkDevice device;
  Program program(device);
  CUlinkState link = nullptr;
  CUDA_OK(cuLinkCreate_v2(0, nullptr, nullptr, &link));
  const std::string large(200'000, 'l');
  CUDA_OK(add(link, "small", "a name"));
  CUDA_OK(add(link, large));
  CHECK(device.names == "a name-");
  void* image = nullptr;
  std::size_t bytes = 0;
  CUDA_OK(cuLinkComplete(link, &image, &bytes));
  REQUIRE(bytes == 200'005);
  CHECK(std::memcmp(image, device.image.data(), bytes) == 0);
  CUDA_OK(cuLinkDestroy(link));
  CHECK(device.destroyed == 1);
  CHECK(add(link, "late") == CUDA_ERROR_INVALID_HANDLE);
  CHECK(cuLinkComplete(link, &image, &bytes) == CUDA_ERROR_INVALID_HANDLE);
  CHECK(cuLinkDestroy(link) == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("the linker's words reach the program's buffers, never more than they hold") {
  LinkDevice device;
  Program program(device);
  char info[64] = {}, error[16];
  std::memset(error, '?', sizeof(error));
  CUjit_option names[] = {CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
                          CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
                          CU_JIT_MAX_REGISTERS};
  void* values[] = {info, reinterpret_cast<void*>(sizeof(info)), error, reinterpret_cast<void*>(8),
                    reinterpret_cast<void*>(32)};
  CUlinkState link = nullptr;
  CUDA_OK(cuLinkCreate_v2(5, names, values, &link));
  CHECK(device.registers == 32);
  CUDA_OK(add(link, "text"));
  CHECK(std::string(info) == "added");
  CHECK(values[1] == reinterpret_cast<void*>(6));
  CHECK(add(link, "text", nullptr, CU_JIT_INPUT_OBJECT) == CUDA_ERROR_INVALID_PTX);
  // The driver had 8 bytes of ours to write into; here as many are the program's.
  CHECK(::strnlen(error, sizeof(error)) == 7);
  CHECK(std::string(error) == "no obje");
  CHECK(error[8] == '?');
  device.fail_complete = true;
  void* image = &image;
  CHECK(cuLinkComplete(link, &image, nullptr) == CUDA_ERROR_INVALID_IMAGE);
  CHECK(image == &image);
}

TEST_CASE("files to link are read here, and their paths stay here") {
  LinkDevice device;
  Program program(device);
  CUlinkState link = nullptr;
  CUDA_OK(cuLinkCreate_v2(0, nullptr, nullptr, &link));
  const File file(".version 8.0");
  CUDA_OK(cuLinkAddFile_v2(link, CU_JIT_INPUT_PTX, file.path, 0, nullptr, nullptr));
  CHECK(device.image == ".version 8.0");
  CHECK(device.names == "-");
  CHECK(program.round_trips([&] {
    CHECK(cuLinkAddFile_v2(link, CU_JIT_INPUT_PTX, "no/such/file", 0, nullptr, nullptr) ==
          CUDA_ERROR_FILE_NOT_FOUND);
    CHECK(cuLinkAddFile_v2(link, CU_JIT_INPUT_PTX, nullptr, 0, nullptr, nullptr) ==
          CUDA_ERROR_INVALID_VALUE);
  }) == 0);
}

TEST_CASE("a link with wrong arguments is refused as a driver would") {
  LinkDevice device;
  CUlinkState link = nullptr;
  {
    World world(device);
    CHECK(cuLinkCreate_v2(0, nullptr, nullptr, &link) == CUDA_ERROR_INVALID_CONTEXT);
  }
  Program program(device);
  CHECK(cuLinkCreate_v2(0, nullptr, nullptr, nullptr) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuLinkCreate_v2(1, nullptr, nullptr, &link) == CUDA_ERROR_INVALID_VALUE);
  CUjit_option symbols[] = {CU_JIT_GLOBAL_SYMBOL_NAMES};
  void* value[] = {&link};
  CHECK(cuLinkCreate_v2(1, symbols, value, &link) == CUDA_ERROR_NOT_SUPPORTED);
  CUDA_OK(cuLinkCreate_v2(0, nullptr, nullptr, &link));
  CHECK(cuLinkAddData_v2(link, CU_JIT_INPUT_PTX, nullptr, 4, nullptr, 0, nullptr, nullptr) ==
        CUDA_ERROR_INVALID_VALUE);
  CHECK(add(link, "") == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuLinkComplete(link, nullptr, nullptr) == CUDA_ERROR_INVALID_VALUE);
  CHECK(add(nullptr, "x") == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("what a session has not destroyed is destroyed with it") {
  LinkDevice device;
  {
    Program program(device);
    CUlinkState link = nullptr;
    for (int i = 0; i < 3; ++i) CUDA_OK(cuLinkCreate_v2(0, nullptr, nullptr, &link));
  }
  CHECK(device.destroyed == 1);  // the fake one has but one state
}

// Takes launches whose parameters come in one buffer.
class BufferDevice : public FakeDevice {
 public:
  api::Driver table() {
    api::Driver driver = FakeDevice::table();
    driver.cuLaunchKernel = [](CUfunction, unsigned x, unsigned y, unsigned, unsigned block_x,
                               unsigned block_y, unsigned, unsigned, CUstream, void** params,
                               void** extra) {
      CHECK(params == nullptr);
      REQUIRE(extra != nullptr);
      CHECK(extra[0] == CU_LAUNCH_PARAM_BUFFER_POINTER);
      CHECK(extra[2] == CU_LAUNCH_PARAM_BUFFER_SIZE);
      last() = {x, y, block_x, block_y,
                std::string(static_cast<char*>(extra[1]), *static_cast<std::size_t*>(extra[3]))};
      return CUDA_SUCCESS;
    };
    return driver;
  }
  struct Launched {
    unsigned x = 0, y = 0, block_x = 0, block_y = 0;
    std::string params;
  };
  static Launched& last() {
    static Launched launched;
    return launched;
  }
};

TEST_CASE("CUDA 3's launches become a cuLaunchKernel with the parameters that were set") {
  BufferDevice device;
  World world(device);
  world.use_device();
  CUmodule module = nullptr;
  CUfunction function = nullptr;
  CUDA_OK(cuModuleLoadData(&module, ".version 8.0"));
  CUDA_OK(cuModuleGetFunction(&function, module, "kernel"));
  const double second = 2.5;
  CUDA_OK(cuFuncSetBlockShape(function, 32, 2, 1));
  CUDA_OK(cuParamSeti(function, 0, 1));
  CUDA_OK(cuParamSetv(function, 8, const_cast<double*>(&second), sizeof(second)));
  CUDA_OK(cuParamSeti(function, 16, 3));
  CUDA_OK(cuParamSetSize(function, 20));
  CHECK(cuLaunchGrid(function, 0, 1) == CUDA_ERROR_INVALID_VALUE);
  CUDA_OK(cuLaunchGrid(function, 5, 6));
  CUDA_OK(cuCtxSynchronize());
  const BufferDevice::Launched& last = BufferDevice::last();
  CHECK(last.x == 5);
  CHECK(last.y == 6);
  CHECK(last.block_x == 32);
  CHECK(last.block_y == 2);
  REQUIRE(last.params.size() == 20);
  CHECK(std::memcmp(last.params.data() + 8, &second, sizeof(second)) == 0);
  CHECK(last.params[16] == 3);
  const auto stale = reinterpret_cast<CUfunction>(0x1234);
  CHECK(cuFuncSetBlockShape(stale, 1, 1, 1) == CUDA_ERROR_INVALID_HANDLE);
  CHECK(cuLaunch(stale) == CUDA_ERROR_INVALID_HANDLE);
}
