// Modules, kernels and launches against a driver that writes down what it was asked.
#include <doctest/doctest.h>

#include <map>

#include "gpu_server/jit_options.h"
#include "tests/gpu_server/served_session.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"
#include "transport/cuda/image.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;

// What the driver saw; one test at a time.
struct Seen {
  std::string image;
  unsigned options = 0;
  std::string name;
  std::vector<std::uint64_t> params;
  unsigned grid = 0, block = 0, shared = 0;
  int launches = 0;
  int param_queries = 0;
  int cooperative = 0;
  std::vector<unsigned> attribute_ids;
  bool unloaded = false;
};
Seen g_seen;

const std::size_t kParamBytes[] = {8, 4, 1};

api::Driver driver() {
  g_seen = {};
  api::Driver d;
  d.cuInit = [](unsigned) { return CUDA_SUCCESS; };
  d.cuDeviceGetCount = [](int* count) { return *count = 1, CUDA_SUCCESS; };
  d.cuCtxSetCurrent = [](CUcontext) { return CUDA_SUCCESS; };
  d.cuStreamQuery = [](CUstream) { return CUDA_SUCCESS; };
  d.cuLibraryLoadData = [](CUlibrary* library, const void* image, CUjit_option*, void**, unsigned n,
                           CUlibraryOption*, void**, unsigned library_options) {
    g_seen.image = static_cast<const char*>(image);
    g_seen.options = n + 100 * library_options;
    if (g_seen.image == "bad") return CUDA_ERROR_INVALID_PTX;
    return *library = reinterpret_cast<CUlibrary>(0x100), CUDA_SUCCESS;
  };
  d.cuLibraryUnload = [](CUlibrary) { return g_seen.unloaded = true, CUDA_SUCCESS; };
  d.cuModuleLoadDataEx = [](CUmodule* module, const void* image, unsigned count,
                            CUjit_option* names, void** values) {
    g_seen.image = static_cast<const char*>(image);
    g_seen.options = count;
    for (unsigned i = 0; i < count; ++i) {
      if (names[i] == CU_JIT_ERROR_LOG_BUFFER) std::memcpy(values[i], "oh", 3);
    }
    return *module = reinterpret_cast<CUmodule>(0x200), CUDA_SUCCESS;
  };
  d.cuLibraryGetKernel = [](CUkernel* kernel, CUlibrary, const char* name) {
    g_seen.name = name;
    if (g_seen.name != "add") return CUDA_ERROR_NOT_FOUND;
    return *kernel = reinterpret_cast<CUkernel>(0x300), CUDA_SUCCESS;
  };
  d.cuKernelGetParamInfo = [](CUkernel, std::size_t i, std::size_t* at, std::size_t* bytes) {
    ++g_seen.param_queries;
    if (i >= std::size(kParamBytes)) return CUDA_ERROR_INVALID_VALUE;
    *at = 99;
    return *bytes = kParamBytes[i], CUDA_SUCCESS;
  };
  d.cuKernelGetAttribute = [](int* value, CUfunction_attribute, CUkernel, CUdevice) {
    return *value = 256, CUDA_SUCCESS;
  };
  d.cuLaunchKernel = [](CUfunction function, unsigned grid, unsigned, unsigned, unsigned block,
                        unsigned, unsigned, unsigned shared, CUstream, void** params, void**) {
    if (function != reinterpret_cast<CUfunction>(0x300)) return CUDA_ERROR_INVALID_HANDLE;
    ++g_seen.launches;
    g_seen.grid = grid, g_seen.block = block, g_seen.shared = shared;
    g_seen.params.clear();
    for (std::size_t i = 0; i < std::size(kParamBytes); ++i) {
      std::uint64_t value = 0;
      std::memcpy(&value, params[i], kParamBytes[i]);
      g_seen.params.push_back(value);
    }
    return CUDA_SUCCESS;
  };
  d.cuLaunchCooperativeKernel = [](CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned,
                                   unsigned, unsigned, CUstream,
                                   void**) { return ++g_seen.cooperative, CUDA_SUCCESS; };
  return d;
}

void open(ServedSession& session) {
  REQUIRE(
      session.ask(row::cuInit::info().id, body(hand::OpenRequest{hand::kOpenVersion, 0})).status ==
      CUDA_SUCCESS);
}

Reply load(ServedSession& session, std::uint16_t id, const std::string& text,
           const std::vector<hand::LoadOption>& options = {},
           const std::vector<hand::LoadOption>& library_options = {}) {
  Bytes packed = cuda::pack_image(text.c_str()).value();
  Bytes head = body(hand::LoadImage{packed.size(), static_cast<std::uint32_t>(options.size()),
                                    static_cast<std::uint32_t>(library_options.size()), 0, 0});
  for (auto& list : {options, library_options}) {
    for (const hand::LoadOption& option : list) {
      Bytes more = body(option);
      head.insert(head.end(), more.begin(), more.end());
    }
  }
  REQUIRE(session.post_bulk(id, head, packed, 1, wire::kWantsReply).ok());
  return session.receive();
}

Bytes named(std::uint64_t id, const std::string& name) {
  Bytes bytes = body(id, static_cast<std::uint32_t>(name.size()));
  for (char letter : name) bytes.push_back(static_cast<std::byte>(letter));
  return bytes;
}

// A library with the kernel "add" in it; returns the kernel's id.
std::uint64_t load_kernel(ServedSession& session) {
  Reply loaded = load(session, row::cuLibraryLoadData::info().id, ".version 8.0");
  REQUIRE(loaded.status == CUDA_SUCCESS);
  Reply got =
      session.ask(row::cuLibraryGetKernel::info().id, named(loaded.get<std::uint64_t>(), "add"));
  REQUIRE(got.status == CUDA_SUCCESS);
  return got.get<hand::FunctionFacts>().id;
}

Bytes launch(std::uint64_t kernel, const Bytes& params, hand::Launch head = {}) {
  head.function = kernel;
  head.grid[0] = 3;
  head.block[0] = 64;
  head.shared_bytes = 17;
  Bytes bytes = body(head, hand::LaunchParams{hand::ParamForm::kBySizes,
                                              static_cast<std::uint32_t>(params.size())});
  bytes.insert(bytes.end(), params.begin(), params.end());
  return bytes;
}

hand::Launch kind_of(hand::LaunchKind kind) {
  hand::Launch head{};
  head.kind = kind;
  return head;
}
hand::Launch on_stream(std::uint64_t stream) {
  hand::Launch head{};
  head.stream = stream;
  return head;
}

const std::uint16_t kLaunch = row::cuLaunchKernel::info().id;
const std::uint16_t kQuery = row::cuStreamQuery::info().id;

TEST_CASE("a library loads, and its kernel comes with all that a launch needs") {
  ServedSession session(driver());
  open(session);
  Reply loaded = load(session, row::cuLibraryLoadData::info().id, ".version 8.0", {},
                      {{CU_LIBRARY_BINARY_IS_PRESERVED, 0, 1}});
  REQUIRE(loaded.status == CUDA_SUCCESS);
  CHECK(g_seen.image == ".version 8.0");
  CHECK(g_seen.options == 0);  // the client's promise about its own memory is not passed on
  Bytes wrong = named(loaded.get<std::uint64_t>(), "sub");
  CHECK(session.ask(row::cuLibraryGetKernel::info().id, wrong).status == CUDA_ERROR_NOT_FOUND);
  Reply got =
      session.ask(row::cuLibraryGetKernel::info().id, named(loaded.get<std::uint64_t>(), "add"));
  auto facts = got.get<hand::FunctionFacts>();
  CHECK(facts.param_count == 3);
  CHECK(facts.attributes[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK] == 256);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(got.get<std::uint32_t>(sizeof facts + 4 * i) == kParamBytes[i]);
  }
  (void)session.end();
  CHECK(g_seen.unloaded);
}

TEST_CASE("a launch gives the driver one pointer per parameter, and asks for sizes once") {
  ServedSession session(driver());
  open(session);
  std::uint64_t kernel = load_kernel(session);
  Bytes params = body(std::uint64_t{1} << 40, 7u, std::uint8_t{9});
  for (int i = 0; i < 3; ++i) REQUIRE(session.post(kLaunch, launch(kernel, params)).ok());
  CHECK(session.ask(kQuery, body(std::uint64_t{0})).status == CUDA_SUCCESS);
  CHECK(g_seen.params == std::vector<std::uint64_t>{std::uint64_t{1} << 40, 7, 9});
  CHECK(g_seen.grid == 3);
  CHECK(g_seen.block == 64);
  CHECK(g_seen.shared == 17);
  CHECK(g_seen.launches == 3);
  CHECK(g_seen.param_queries == 4);
  REQUIRE(
      session.post(kLaunch, launch(kernel, params, kind_of(hand::LaunchKind::kCooperative))).ok());
  CHECK(session.ask(kQuery, body(std::uint64_t{0})).status == CUDA_SUCCESS);
  CHECK(g_seen.cooperative == 1);
}

TEST_CASE("parameters of another size, and kernels that are none, never reach the driver") {
  ServedSession session(driver());
  open(session);
  std::uint64_t kernel = load_kernel(session);
  struct Case {
    Bytes bytes;
    CUresult status;
  };
  Bytes good = body(std::uint64_t{1}, 7u, std::uint8_t{9});
  for (const Case& c : {Case{launch(kernel, body(1u)), CUDA_ERROR_INVALID_VALUE},
                        Case{launch(kernel + 1, good), CUDA_ERROR_INVALID_HANDLE},
                        Case{launch(0, good), CUDA_ERROR_INVALID_HANDLE},
                        Case{launch(kernel, good, on_stream(0x9999)), CUDA_ERROR_INVALID_HANDLE}}) {
    REQUIRE(session.post(kLaunch, c.bytes).ok());
    CHECK(session.ask(kQuery, body(std::uint64_t{0})).status == c.status);
  }
  CHECK(g_seen.launches == 0);
}

TEST_CASE("launches whose bytes do not add up end the session") {
  Bytes good = body(std::uint64_t{1}, 7u, std::uint8_t{9});
  hand::Launch many{};
  many.attribute_count = limits::kLaunchAttributesMax + 1;
  Bytes longer = launch(1, good);
  longer.push_back(std::byte{0});
  Bytes shorter = launch(1, good);
  shorter.pop_back();
  for (const Bytes& bytes : {launch(1, good, many), longer, shorter, body(1u)}) {
    ServedSession session(driver());
    open(session);
    REQUIRE(session.post(kLaunch, bytes).ok());
    CHECK(session.wait().code() == Code::kMalformed);
  }
}

TEST_CASE("an image that the driver or we refuse is an error, with the same shape of reply") {
  ServedSession session(driver());
  open(session);
  std::uint16_t id = row::cuLibraryLoadData::info().id;
  Reply refused = load(session, id, "bad");
  CHECK(refused.status == CUDA_ERROR_INVALID_PTX);
  CHECK(refused.answers.size() == 28);
  CHECK(refused.get<std::uint64_t>() == 0);
  Bytes noise(300, std::byte{0xff});
  REQUIRE(session
              .post_bulk(id, body(hand::LoadImage{noise.size(), 0, 0, 0, 0}), noise, 1,
                         wire::kWantsReply)
              .ok());
  CHECK(session.receive().status == CUDA_ERROR_INVALID_IMAGE);
  // Options with pointers in them are refused, and the payload is passed over.
  Reply pointer = load(session, id, ".version 8.0", {{CU_JIT_INFO_LOG_BUFFER, 0, 0x1234}});
  CHECK(pointer.status == CUDA_ERROR_INVALID_VALUE);
  CHECK(load(session, id, ".version 8.0").status == CUDA_SUCCESS);
}

TEST_CASE("a load that names its image wrongly ends the session") {
  const hand::ImageName name{100, {}, {}};
  const std::uint16_t id = row::cuLibraryLoadData::info().id;
  Bytes cut = body(hand::LoadImage{0, 0, 0, hand::kImageNamed, 0}, name);
  cut.pop_back();
  // Neither a payload nor a name; flags nobody knows; a name cut short.
  for (const Bytes& bytes :
       {body(hand::LoadImage{0, 0, 0, 0, 0}), body(hand::LoadImage{0, 0, 0, 4, 0}, name),
        body(hand::LoadImage{0, 0, 0, hand::kImageNamed, 1}, name), cut}) {
    ServedSession session(driver());
    open(session);
    REQUIRE(session.post(id, bytes, 1, wire::kWantsReply).ok());
    CHECK(session.wait().code() == Code::kMalformed);
  }
  // A name of another length than the payload.
  ServedSession session(driver());
  open(session);
  const Bytes payload(64);
  // The server may end the session at the frame, before the payload is out.
  (void)session.post_bulk(id, body(hand::LoadImage{64, 0, 0, hand::kImageNamed, 0}, name), payload,
                          1, wire::kWantsReply);
  CHECK(session.wait().code() == Code::kMalformed);
}

TEST_CASE("without a cache a named image is asked for") {
  ServedSession session(driver());
  open(session);
  Reply reply = session.ask(
      row::cuLibraryLoadData::info().id,
      body(hand::LoadImage{0, 0, 0, hand::kImageNamed, 0}, hand::ImageName{100, {}, {}}));
  CHECK(reply.status == CUDA_SUCCESS);
  CHECK(reply.get<hand::LoadAnswer>().id == 0);
  CHECK(reply.get<hand::LoadAnswer>().outcome == hand::LoadOutcome::kNoCache);
}

TEST_CASE("a module's compiler log comes back") {
  ServedSession session(driver());
  open(session);
  Reply loaded =
      load(session, row::cuModuleLoadData::info().id, ".version 8.0",
           {{CU_JIT_MAX_REGISTERS, 0, 32}, {CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, 0, 100}});
  REQUIRE(loaded.status == CUDA_SUCCESS);
  CHECK(g_seen.options == 3);
  CHECK(loaded.get<std::uint32_t>(16) == 0);
  CHECK(loaded.get<std::uint32_t>(20) == 2);
  CHECK(loaded.get<char>(24) == 'o');
}

}  // namespace
}  // namespace farcall::server
