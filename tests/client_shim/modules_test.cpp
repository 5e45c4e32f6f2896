// Images: what of them crosses the link.
#include <fcntl.h>

#include <filesystem>
#include <fstream>

#include "gpu_server/module_cache.h"
#include "tests/client_shim/world.h"
#include "tests/support/switched.h"

using namespace farcall;
using namespace farcall::shim;

namespace {

namespace fs = std::filesystem;

// A server's cache and a client's private key, for as long as a test.
struct Cached {
  Cached() {
    std::string made = (fs::temp_directory_path() / "farcall-modules-XXXXXX").string();
    REQUIRE(::mkdtemp(made.data()) != nullptr);
    folder = made;
    fs::create_directory(folder / "cache");
    write_key("a private key");
    Fd open(::open((folder / "cache").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    cache = std::make_unique<server::ModuleCache>(std::move(open), std::uint64_t{1} << 30);
  }
  ~Cached() { fs::remove_all(folder); }
  Cached(const Cached&) = delete;
  Cached& operator=(const Cached&) = delete;
  void write_key(const char* text) { std::ofstream(key()) << text; }
  std::string key() const { return (folder / "client.key").string(); }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder / "cache"), {}));
  }
  fs::path folder;
  std::unique_ptr<server::ModuleCache> cache;
};

const std::string kLarge = ".version 8.0 // " + std::string(1'000'000, 'x');
const std::string kSmall = ".version 8.0 // " + std::string(10'000, 'x');

struct Cost {
  std::uint64_t round_trips = 0;
  std::uint64_t payload = 0;
};
Cost load(World& world, const std::string& image) {
  std::uint64_t before = current_client()->session().stats().bulk_bytes_out;
  Cost cost;
  cost.round_trips = world.round_trips([&] {
    CUmodule module = nullptr;
    CUDA_OK(cuModuleLoadData(&module, image.c_str()));
    CHECK(module != nullptr);
  });
  cost.payload = current_client()->session().stats().bulk_bytes_out - before;
  return cost;
}

// A program that has a device and may name its images.
struct Program : World {
  Program(FakeDevice& device, Cached& cached) : World(device, cached.cache.get(), cached.key()) {
    use_device();
  }
};

void expect_sent_whole_each_time(const std::string& image) {
  Cached cached;
  FakeDevice device;
  Program program(device, cached);
  for (int i = 0; i < 2; ++i) {
    Cost cost = load(program, image);
    CHECK(cost.round_trips == 1);
    CHECK(cost.payload > image.size());
  }
  CHECK(cached.files() == 0);
}

// Round trips to find the kernel of a module that was just loaded, and one of its constants.
std::uint64_t look_up(World& world, CUmodule* module, CUfunction* function) {
  CUDA_OK(cuModuleLoadData(module, kSmall.c_str()));
  return world.round_trips([&] {
    int value = 0;
    CUDA_OK(cuModuleGetFunction(function, *module, "kernel"));
    CUDA_OK(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, *function));
    CHECK(value == FakeDevice::kKernelThreadsMax);
  });
}

}  // namespace

TEST_CASE("an image that was loaded before is asked for by name and not sent again") {
  const Switched all_on("");
  Cached cached;
  FakeDevice device;
  {
    Program program(device, cached);
    Cost first = load(program, kLarge);
    CHECK(first.round_trips == 2);
    CHECK(first.payload > kLarge.size());
    CHECK(cached.files() == 1);
    Cost again = load(program, kLarge);
    CHECK(again.round_trips == 1);
    CHECK(again.payload == 0);
  }
  Program later(device, cached);
  Cost cost = load(later, kLarge);
  CHECK(cost.round_trips == 1);
  CHECK(cost.payload == 0);
  CHECK(device.count("cuModuleLoadDataEx") == 3);
}

TEST_CASE("a client with another private key finds nothing of the first one's") {
  const Switched all_on("");
  Cached cached;
  FakeDevice device;
  for (const char* key : {"one", "another"}) {
    cached.write_key(key);
    Program program(device, cached);
    CHECK(load(program, kLarge).payload > kLarge.size());
  }
  CHECK(cached.files() == 2);
}

TEST_CASE("an image that differs in one byte is another image") {
  const Switched all_on("");
  Cached cached;
  FakeDevice device;
  Program program(device, cached);
  CHECK(load(program, kLarge).payload > 0);
  std::string other = kLarge;
  other.back() = 'y';
  CHECK(load(program, other).payload > 0);
  CHECK(cached.files() == 2);
}

TEST_CASE("small images are sent at once") { expect_sent_whole_each_time(kSmall); }

TEST_CASE("without the module-cache switch every load sends its image") {
  const Switched off("module-cache");
  expect_sent_whole_each_time(kLarge);
}

TEST_CASE("a server without a cache is asked once, a client without a key does not ask") {
  const Switched all_on("");
  Cached cached;
  FakeDevice device;
  {
    World world(device, nullptr, cached.key());
    world.use_device();
    CHECK(load(world, kLarge).round_trips == 2);
    CHECK(load(world, kLarge).round_trips == 1);
  }
  World world(device, cached.cache.get(), "");
  world.use_device();
  Cost cost = load(world, kLarge);
  CHECK(cost.round_trips == 1);
  CHECK(cost.payload > 0);
  CHECK(cached.files() == 0);
}

TEST_CASE("an image whose file was damaged is sent again, and kept again") {
  const Switched all_on("");
  Cached cached;
  FakeDevice device;
  Program program(device, cached);
  CHECK(load(program, kLarge).payload > 0);
  for (const auto& entry : fs::directory_iterator(cached.folder / "cache")) {
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(5000);
    const auto changed = static_cast<char>(file.get() ^ 1);
    file.seekp(5000);
    file.put(changed);
  }
  Cost cost = load(program, kLarge);
  CHECK(cost.round_trips == 2);
  CHECK(cost.payload > 0);
  CHECK(load(program, kLarge).payload == 0);
}

TEST_CASE("a module's functions come with its load, and what never changes of them") {
  const Switched all_on("");
  FakeDevice device;
  device.functions = 1;
  World world(device);
  world.use_device();
  CUmodule module = nullptr;
  CUfunction function = nullptr;
  CHECK(look_up(world, &module, &function) == 0);
  // It launches by the sizes that came along, and what is not there is asked for.
  char first = 1;
  double second = 2;
  int third = 3;
  void* params[] = {&first, &second, &third};
  CUDA_OK(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, nullptr, params, nullptr));
  CUDA_OK(cuCtxSynchronize());
  CHECK(device.count("cuLaunchKernel") == 1);
  CHECK(cuModuleGetFunction(&function, module, "kernels") == CUDA_ERROR_NOT_FOUND);
  // What can be set is the driver's to tell.
  CHECK(world.round_trips([&] {
    int value = 0;
    CUDA_OK(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, function));
  }) == 1);
  CHECK(cuFuncGetAttribute(nullptr, CU_FUNC_ATTRIBUTE_NUM_REGS, function) ==
        CUDA_ERROR_INVALID_VALUE);
  // With the module its functions go.
  CUDA_OK(cuModuleUnload(module));
  CHECK(cuModuleGetFunction(&function, module, "kernel") == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE(
    "functions that do not fit a reply, and those of large modules, are asked for when used") {
  const Switched all_on("");
  struct Case {
    unsigned functions;
    std::uint64_t round_trips;  // for the first of them
  };
  for (const Case& c : {Case{10, 0}, Case{17, 1}}) {
    FakeDevice device;
    device.functions = c.functions;
    World world(device);
    world.use_device();
    CUmodule module = nullptr;
    CUfunction function = nullptr;
    CUDA_OK(cuModuleLoadData(&module, kSmall.c_str()));
    CHECK(world.round_trips([&] { CUDA_OK(cuModuleGetFunction(&function, module, "kernel")); }) ==
          c.round_trips);
  }
}

TEST_CASE("the image of a file does not stay where it is") {
  FakeDevice device;
  World world(device);
  world.use_device();
  CUlibrary library = nullptr;
  CUlibraryOption option = CU_LIBRARY_BINARY_IS_PRESERVED;
  unsigned yes = 1;
  void* value = &yes;
  CHECK(cuLibraryLoadFromFile(&library, "/dev/null", nullptr, nullptr, 0, &option, &value, 1) ==
        CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("without the function-facts switch each function is asked for") {
  const Switched off("function-facts");
  FakeDevice device;
  device.functions = 1;
  World world(device);
  world.use_device();
  CUmodule module = nullptr;
  CUfunction function = nullptr;
  CHECK(look_up(world, &module, &function) == 2);
}
