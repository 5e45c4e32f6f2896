// Structs with pointers inside: what the client refuses to send and the server refuses to believe.
#include "transport/api/deep.h"

#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "tests/transport/api/table_loop.h"

using namespace farcall;
using namespace farcall::api;

namespace {

struct Bench {
  std::vector<std::byte> room = std::vector<std::byte>(limits::kFrameBodyBytesMax);
  std::vector<std::byte> arguments = std::vector<std::byte>(limits::kScratchBytes);
  FakeHandles handles;
  wire::Writer out{room};

  // What the server makes of the bytes written so far.
  template <class T>
  CUresult load(T& to, bool* malformed = nullptr) {
    wire::Reader in(out.view());
    Scratch scratch(arguments);
    Load load{in, handles, scratch};
    Deep<T>::load(load, to);
    if (malformed != nullptr) *malformed = in.failed();
    return load.refused;
  }
};

}  // namespace

TEST_CASE("a launch attribute that writes into the client's memory is refused at both ends") {
  CUlaunchAttribute attribute{};
  attribute.id = CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE;
  CUlaunchConfig config{};
  config.attrs = &attribute;
  config.numAttrs = 1;
  CHECK(Deep<CUlaunchConfig>::check(config) == CUDA_ERROR_NOT_SUPPORTED);
  Bench bench;
  Deep<CUlaunchConfig>::put(bench.out, config);
  CUlaunchConfig loaded{};
  CHECK(bench.load(loaded) == CUDA_ERROR_NOT_SUPPORTED);
}

TEST_CASE("a launch attribute that no table knows is refused at both ends") {
  for (std::uint32_t id : {15U, 17U, 4711U, UINT32_MAX}) {
    CAPTURE(id);
    CUlaunchAttribute attribute{};
    std::memcpy(&attribute.id, &id, sizeof(id));
    CUlaunchConfig config{};
    config.attrs = &attribute;
    config.numAttrs = 1;
    // 15 is a hole among those that cuda.h names; what lies beyond them no driver knows.
    CHECK(Deep<CUlaunchConfig>::check(config) ==
          (id == 15 ? CUDA_ERROR_NOT_SUPPORTED : CUDA_ERROR_INVALID_VALUE));
    Bench bench;
    Deep<CUlaunchConfig>::put(bench.out, config);
    CUlaunchConfig loaded{};
    CHECK(bench.load(loaded) == CUDA_ERROR_NOT_SUPPORTED);
  }
}

TEST_CASE("every launch attribute without a pointer to the client's memory gets through") {
  for (std::uint32_t id : {0U, 1U, 2U, 3U, 4U, 5U, 6U, 8U, 9U, 10U, 11U, 14U, 16U}) {
    CAPTURE(id);
    CUlaunchAttribute attribute{};
    std::memcpy(&attribute.id, &id, sizeof(id));
    attribute.value.priority = -3;
    CUlaunchConfig config{};
    config.attrs = &attribute;
    config.numAttrs = 1;
    CHECK(Deep<CUlaunchConfig>::check(config) == CUDA_SUCCESS);
    Bench bench;
    Deep<CUlaunchConfig>::put(bench.out, config);
    wire::Reader in(bench.out.view());
    Scratch scratch(bench.arguments);  // what is loaded lives as long as this
    Load load{in, bench.handles, scratch};
    CUlaunchConfig loaded{};
    Deep<CUlaunchConfig>::load(load, loaded);
    CHECK(load.refused == CUDA_SUCCESS);
    CHECK(in.done());
    REQUIRE(loaded.numAttrs == 1);
    CHECK(std::memcmp(&loaded.attrs[0].id, &id, sizeof(id)) == 0);
    CHECK(loaded.attrs[0].value.priority == -3);
  }
}

TEST_CASE("attributes that are promised and not there are refused before they are read") {
  CUlaunchConfig config{};
  config.numAttrs = 1;
  CHECK(Deep<CUlaunchConfig>::check(config) == CUDA_ERROR_INVALID_VALUE);
  CUlaunchAttribute one{};
  config.attrs = &one;
  config.numAttrs = limits::kLaunchAttributesMax + 1;
  CHECK(Deep<CUlaunchConfig>::check(config) == CUDA_ERROR_NOT_SUPPORTED);
}

TEST_CASE("more attributes than the limit end the session") {
  CUlaunchConfig config{};
  Bench bench;
  Deep<CUlaunchConfig>::put(bench.out, config);
  std::uint32_t many = limits::kLaunchAttributesMax + 1;
  std::memcpy(bench.room.data() + 28, &many, sizeof(many));
  CUlaunchConfig loaded{};
  bool malformed = false;
  bench.load(loaded, &malformed);
  CHECK(malformed);
}

TEST_CASE("a copy node with an end on the host is refused at both ends") {
  CUDA_MEMCPY3D copy{};
  copy.srcMemoryType = CU_MEMORYTYPE_HOST;
  copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  CHECK(Deep<CUDA_MEMCPY3D>::check(copy) == CUDA_ERROR_NOT_SUPPORTED);
  Bench bench;
  bench.out.put(copy);
  CUDA_MEMCPY3D loaded{};
  CHECK(bench.load(loaded) == CUDA_ERROR_NOT_SUPPORTED);
}

TEST_CASE("a host pointer never reaches the driver, whatever the client sends") {
  CUDA_MEMCPY3D copy{};
  copy.srcMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.srcHost = &copy;
  copy.dstHost = &copy;
  copy.reserved0 = &copy;
  copy.srcArray = reinterpret_cast<CUarray>(&copy);
  Bench bench;
  bench.out.put(copy);  // as a hostile client would
  CUDA_MEMCPY3D loaded{};
  CHECK(bench.load(loaded) == CUDA_SUCCESS);
  CHECK(loaded.srcHost == nullptr);
  CHECK(loaded.dstHost == nullptr);
  CHECK(loaded.reserved0 == nullptr);
  CHECK(loaded.srcArray == nullptr);
}

TEST_CASE("Windows handles in memory properties are refused here and end the session there") {
  CUmemAllocationProp allocation{};
  allocation.win32HandleMetaData = &allocation;
  CHECK(Deep<CUmemAllocationProp>::check(allocation) == CUDA_ERROR_NOT_SUPPORTED);
  Bench bench;
  bench.out.put(allocation);
  bool malformed = false;
  bench.load(allocation, &malformed);
  CHECK(malformed);
  CUmemPoolProps pool{};
  pool.win32SecurityAttributes = &pool;
  CHECK(Deep<CUmemPoolProps>::check(pool) == CUDA_ERROR_NOT_SUPPORTED);
}

TEST_CASE("an event in a launch attribute is a handle like any other") {
  CUlaunchAttribute attribute{};
  attribute.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT;
  attribute.value.programmaticEvent.event = reinterpret_cast<CUevent>(0x4242);
  CUlaunchConfig config{};
  config.attrs = &attribute;
  config.numAttrs = 1;
  Bench bench;
  Deep<CUlaunchConfig>::put(bench.out, config);
  CUlaunchConfig loaded{};
  CHECK(bench.load(loaded) == CUDA_ERROR_INVALID_HANDLE);
}
