// What the table-wide tests cannot know: CUDA's special values, limits, twins, and what happens
// when the two ends disagree.
#include <doctest/doctest.h>

#include <vector>

#include "tests/support/switched.h"
#include "tests/transport/api/table_loop.h"

#include "transport/api/client_call.h"
// The exported functions of one family; the rows of all.
#define FARCALL_EXPORT_ROWS_ONLY
#define FARCALL_FAMILY "transport/api/families/stream.def"
#include "transport/api/exports.inc"

using namespace farcall::api;

namespace {

struct Saw {
  CUstream stream = nullptr;
  CUfunction function = nullptr;
  int runs = 0;
};
Saw g_saw;

struct Fixture {
  TableLoop loop;
  Fixture() {
    g_saw = {};
    loop.driver.cuStreamQuery = [](CUstream stream) {
      g_saw.stream = stream;
      ++g_saw.runs;
      return CUDA_SUCCESS;
    };
    loop.driver.cuStreamCreate = [](CUstream* stream, unsigned) {
      *stream = reinterpret_cast<CUstream>(0x1230);
      return CUDA_SUCCESS;
    };
    loop.driver.cuStreamDestroy_v2 = [](CUstream stream) {
      g_saw.stream = stream;
      ++g_saw.runs;
      return CUDA_SUCCESS;
    };
  }
};

}  // namespace

TEST_CASE("CUDA's own stream values reach the driver, the thread's stream as a real one") {
  Fixture test;
  CHECK(cuStreamQuery(nullptr) == CUDA_SUCCESS);
  CHECK(g_saw.stream == nullptr);
  CHECK(cuStreamQuery(CU_STREAM_LEGACY) == CUDA_SUCCESS);
  CHECK(g_saw.stream == CU_STREAM_LEGACY);
  CHECK(cuStreamQuery(CU_STREAM_PER_THREAD) == CUDA_SUCCESS);
  CHECK(g_saw.stream == test.loop.handles.own_stream);
  test.loop.handles.own_stream = nullptr;
  CHECK(cuStreamQuery(CU_STREAM_PER_THREAD) == CUDA_ERROR_INVALID_CONTEXT);
}

TEST_CASE("a twin reads the null stream as the thread's own and leaves others alone") {
  Fixture test;
  CHECK(cuStreamQuery_ptsz(nullptr) == CUDA_SUCCESS);
  CHECK(g_saw.stream == test.loop.handles.own_stream);
  CHECK(cuStreamQuery_ptsz(CU_STREAM_LEGACY) == CUDA_SUCCESS);
  CHECK(g_saw.stream == CU_STREAM_LEGACY);
}

TEST_CASE("a minted handle works from the moment the call returns until it is destroyed") {
  Fixture test;
  CUstream stream = nullptr;
  REQUIRE(cuStreamCreate(&stream, 0) == CUDA_SUCCESS);
  CHECK(is_client_id(reinterpret_cast<std::uintptr_t>(stream)));
  CHECK(cuStreamQuery(stream) == CUDA_SUCCESS);
  CHECK(g_saw.stream == reinterpret_cast<CUstream>(0x1230));
  CHECK(cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
  CHECK(test.loop.deferred == CUDA_SUCCESS);
  CHECK(cuStreamQuery(stream) == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("nobody destroys a stream that is CUDA's own") {
  Fixture test;
  cuStreamDestroy_v2(CU_STREAM_PER_THREAD);
  CHECK(test.loop.deferred == CUDA_ERROR_INVALID_HANDLE);
  cuStreamDestroy_v2(CU_STREAM_LEGACY);
  CHECK(test.loop.deferred == CUDA_ERROR_INVALID_HANDLE);
  CHECK(g_saw.runs == 0);
}

TEST_CASE("a minted id that is no client's, or was used before, ends the session") {
  Fixture test;
  for (std::uint64_t id : {std::uint64_t{0}, kClientIdMin - 1, kServerIdBit, ~std::uint64_t{0}}) {
    std::vector<std::byte> body(12);
    std::memcpy(body.data(), &id, sizeof(id));
    CHECK(test.loop.serve(0x0801, body) == Verdict::kMalformed);
  }
  std::uint64_t good = 0x5000;
  std::vector<std::byte> body(12);
  std::memcpy(body.data(), &good, sizeof(good));
  CHECK(test.loop.serve(0x0801, body) == Verdict::kAnswered);
  test.loop.handles.drop(Kind::kStream, good);
  CHECK(test.loop.serve(0x0801, body) == Verdict::kMalformed);
}

TEST_CASE("a full handle table is out of memory, not a crash") {
  Fixture test;
  test.loop.handles.full = true;
  CUstream stream = nullptr;
  CHECK(cuStreamCreate(&stream, 0) == CUDA_SUCCESS);
  CHECK(test.loop.deferred == CUDA_ERROR_OUT_OF_MEMORY);
}

TEST_CASE("a kernel stands for a function, and only a function") {
  Fixture test;
  test.loop.driver.cuFuncSetCacheConfig = [](CUfunction function, CUfunc_cache) {
    g_saw.function = function;
    return CUDA_SUCCESS;
  };
  int kernel = 0;
  auto id = test.loop.handles.add(Kind::kKernel, &kernel, 0);
  call<row::cuFuncSetCacheConfig>(reinterpret_cast<CUfunction>(id), CU_FUNC_CACHE_PREFER_L1);
  CHECK(test.loop.deferred == CUDA_SUCCESS);
  CHECK(g_saw.function == reinterpret_cast<CUfunction>(&kernel));
  auto library = test.loop.handles.add(Kind::kLibrary, &kernel, 0);
  call<row::cuFuncSetCacheConfig>(reinterpret_cast<CUfunction>(library), CU_FUNC_CACHE_PREFER_L1);
  CHECK(test.loop.deferred == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("an array over the limit is refused here and a negative count is the program's mistake") {
  Fixture test;
  std::vector<CUgraphNode> nodes(farcall::limits::kArrayItemsMax + 1);
  auto count = nodes.size();
  CHECK(call<row::cuGraphAddDependencies>(nullptr, nodes.data(), nodes.data(), count) ==
        CUDA_ERROR_NOT_SUPPORTED);
  CHECK(call<row::cuGraphAddDependencies>(nullptr, nodes.data(), nodes.data(), SIZE_MAX) ==
        CUDA_ERROR_INVALID_VALUE);
  // Two arrays of half the limit each are as much as a frame holds, and a little more.
  count = farcall::limits::kArrayItemsMax;
  CHECK(call<row::cuGraphAddDependencies>(nullptr, nodes.data(), nodes.data(), count) ==
        CUDA_ERROR_NOT_SUPPORTED);
  CHECK(test.loop.requests == 0);
}

TEST_CASE("an output that is not wanted is not asked for, and a name must be there") {
  Fixture test;
  test.loop.driver.cuModuleGetGlobal_v2 = [](CUdeviceptr* address, std::size_t* bytes, CUmodule,
                                             const char* name) {
    if (bytes != nullptr || std::strcmp(name, "table") != 0) return CUDA_ERROR_NOT_FOUND;
    *address = 0x700;
    return CUDA_SUCCESS;
  };
  CUdeviceptr address = 0;
  CHECK(call<row::cuModuleGetGlobal_v2>(&address, nullptr, nullptr, "table") == CUDA_SUCCESS);
  CHECK(address == 0x700);
  CHECK(call<row::cuModuleGetGlobal_v2>(&address, nullptr, nullptr, nullptr) ==
        CUDA_ERROR_INVALID_VALUE);
  std::string name(farcall::limits::kStringBytesMax, 'x');
  CHECK(call<row::cuModuleGetGlobal_v2>(&address, nullptr, nullptr, name.c_str()) ==
        CUDA_ERROR_NOT_SUPPORTED);
}

TEST_CASE("a cached row asks once, and asks again after a failure") {
  farcall::Switched all_on("");
  Fixture test;
  test.loop.use_cache = true;
  static CUresult next;
  next = CUDA_ERROR_INVALID_DEVICE;
  test.loop.driver.cuDeviceCanAccessPeer = [](int* can, CUdevice, CUdevice peer) {
    *can = program_device(peer);
    return next;
  };
  int can = -1;
  CHECK(call<row::cuDeviceCanAccessPeer>(&can, 0, 5) == CUDA_ERROR_INVALID_DEVICE);
  CHECK(can == -1);
  next = CUDA_SUCCESS;
  CHECK(call<row::cuDeviceCanAccessPeer>(&can, 0, 5) == CUDA_SUCCESS);
  CHECK(can == 5);
  can = -1;
  CHECK(call<row::cuDeviceCanAccessPeer>(&can, 0, 5) == CUDA_SUCCESS);
  CHECK(can == 5);
  CHECK(test.loop.requests == 2);
  CHECK(call<row::cuDeviceCanAccessPeer>(&can, 0, 6) == CUDA_SUCCESS);
  CHECK(can == 6);
  CHECK(test.loop.requests == 3);
}

TEST_CASE("a list that is said to be longer than its room is no answer") {
  Fixture test;
  test.loop.driver.cuGraphGetNodes = [](CUgraph, CUgraphNode*, std::size_t* count) {
    return *count = 3, CUDA_SUCCESS;
  };
  const std::uint64_t graph = test.loop.handles.add(kKindOf<CUgraph>, &test, 0);
  auto ask = [&](CUgraphNode* nodes, std::size_t count) {
    return call<row::cuGraphGetNodes>(reinterpret_cast<CUgraph>(graph), nodes, &count);
  };
  CUgraphNode nodes[3] = {};
  CHECK(ask(nullptr, 0) == CUDA_SUCCESS);
  CHECK(ask(nodes, 3) == CUDA_SUCCESS);
  CHECK(ask(nodes, 2) == CUDA_ERROR_SYSTEM_DRIVER_MISMATCH);
}

TEST_CASE("a reply that is not what the row says is told apart from a status") {
  CUresult status = CUDA_SUCCESS;
  auto take = [](farcall::wire::Reader& in) {
    in.get<std::uint32_t>();
    return in.done();
  };
  std::uint32_t good[] = {0, 7};
  CHECK(read_reply(std::as_bytes(std::span(good)), take, &status));
  CHECK(status == CUDA_SUCCESS);
  std::uint32_t longer[] = {0, 7, 8};
  CHECK_FALSE(read_reply(std::as_bytes(std::span(longer)), take, &status));
  CHECK(status == CUDA_ERROR_SYSTEM_DRIVER_MISMATCH);
  std::uint32_t failed[] = {600};
  CHECK(read_reply(std::as_bytes(std::span(failed)), take, &status));
  CHECK(status == CUDA_ERROR_NOT_READY);
  CHECK_FALSE(read_reply({}, take, &status));
}
