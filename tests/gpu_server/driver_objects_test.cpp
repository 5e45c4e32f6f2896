// Objects of the driver whose end, or whose place among the handles, takes more than a row.
#include <doctest/doctest.h>

#include <algorithm>

#include "tests/gpu_server/fake_driver.h"
#include "tests/gpu_server/served_session.h"
#include "transport/api/hand.h"
#include "transport/api/hand_graph.h"
#include "transport/api/rows.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;
namespace row = api::row;

template <class Row>
std::uint16_t id_of() {
  return Row::info().id;
}

template <class T>
T at(std::uintptr_t number) {
  return reinterpret_cast<T>(number);
}

void open(ServedSession& session) {
  Reply opened = session.ask(id_of<row::cuInit>(), body(hand::OpenRequest{hand::kOpenVersion, 0}));
  REQUIRE(opened.status == CUDA_SUCCESS);
  auto context = opened.get<hand::DeviceFacts>(sizeof(hand::OpenReply)).primary_context;
  REQUIRE(session.post(id_of<row::bind_context>(), body(context)).ok());
}

// What the drivers below were called with.
struct Seen {
  int execs_destroyed = 0;
  int links_added = 0;
  int links_destroyed = 0;
  int views_destroyed = 0;
  std::vector<CUjit_option> options;
};
Seen& seen() {
  static Seen the_one;
  return the_one;
}

// Graphs with more nodes than a session may have handles; each answer brings other ones.
api::Driver with_graphs(api::Driver driver) {
  static std::uintptr_t next = 0;
  next = 0x100000;
  driver.cuGraphCreate = [](CUgraph* graph, unsigned) {
    return *graph = at<CUgraph>(0x7000), CUDA_SUCCESS;
  };
  driver.cuGraphGetNodes = [](CUgraph, CUgraphNode* nodes, std::size_t* count) {
    for (std::size_t i = 0; i < *count; ++i) nodes[i] = at<CUgraphNode>(next += 16);
    return CUDA_SUCCESS;
  };
  driver.cuGraphInstantiateWithParams = [](CUgraphExec* exec, CUgraph,
                                           CUDA_GRAPH_INSTANTIATE_PARAMS* params) {
    params->result_out = CUDA_GRAPH_INSTANTIATE_SUCCESS;
    return *exec = at<CUgraphExec>(0x7100), CUDA_SUCCESS;
  };
  driver.cuGraphExecDestroy = [](CUgraphExec) { return ++seen().execs_destroyed, CUDA_SUCCESS; };
  return driver;
}

TEST_CASE("a graph is not instantiated for a client that has no handle left") {
  seen() = {};
  FakeDriver fake;
  ServedSession session(with_graphs(fake.table()));
  open(session);
  const auto graph = session.ask(id_of<row::cuGraphCreate>(), body(0U)).get<std::uint64_t>();
  const Bytes instantiate = body(hand::Instantiate{graph, 0, 0});
  CHECK(session.ask(id_of<row::cuGraphInstantiateWithParams>(), instantiate).status ==
        CUDA_SUCCESS);
  // Its exec has a handle already: another graph's has not.
  const auto exec = session.ask(id_of<row::cuGraphInstantiateWithParams>(), instantiate)
                        .get<hand::InstantiateResult>()
                        .exec;
  REQUIRE(session.post(id_of<row::cuGraphExecDestroy>(), body(exec)).ok());
  constexpr std::uint64_t kAtOnce = 4096;
  for (std::size_t told = 0; told <= limits::kHandlesMax; told += kAtOnce) {
    (void)session.ask(id_of<row::cuGraphGetNodes>(), body(graph, std::uint8_t{1}, kAtOnce));
  }
  CHECK(seen().execs_destroyed == 1);
  CHECK(session.ask(id_of<row::cuGraphInstantiateWithParams>(), instantiate).status ==
        CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(seen().execs_destroyed == 2);
}

api::Driver with_links(api::Driver driver) {
  driver.cuCtxCreate_v2 = [](CUcontext* context, unsigned, CUdevice) {
    return *context = at<CUcontext>(0x7200), CUDA_SUCCESS;
  };
  driver.cuCtxDestroy_v2 = [](CUcontext context) {
    seen().views_destroyed += context == at<CUcontext>(0x7500) ? 1 : 0;
    return CUDA_SUCCESS;
  };
  driver.cuLinkCreate_v2 = [](unsigned, CUjit_option*, void**, CUlinkState* state) {
    return *state = at<CUlinkState>(0x7300), CUDA_SUCCESS;
  };
  driver.cuLinkAddData_v2 = [](CUlinkState, CUjitInputType, void*, std::size_t, const char*,
                               unsigned count, CUjit_option* options, void**) {
    seen().options.assign(options, options + count);
    ++seen().links_added;
    return CUDA_SUCCESS;
  };
  driver.cuLinkComplete = [](CUlinkState, void**, std::size_t*) { return CUDA_ERROR_UNKNOWN; };
  driver.cuLinkDestroy = [](CUlinkState) { return ++seen().links_destroyed, CUDA_SUCCESS; };
  return driver;
}

std::uint64_t create_link(ServedSession& session) {
  Reply made = session.ask(id_of<row::cuLinkCreate_v2>(), body(hand::CreateLink{0, 0}));
  CHECK(made.status == CUDA_SUCCESS);
  return made.get<hand::LinkAnswer>().id;
}

TEST_CASE("a driver gets no buffer for the log of one input, which would not last") {
  seen() = {};
  FakeDriver fake;
  ServedSession session(with_links(fake.table()));
  open(session);
  const Bytes payload(16);
  const Bytes input = body(hand::AddLinkInput{payload.size(), create_link(session),
                                              CU_JIT_INPUT_PTX, 3, hand::kNoLinkName, 0},
                           hand::LoadOption{CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES, 0, 1000},
                           hand::LoadOption{CU_JIT_MAX_REGISTERS, 0, 32},
                           hand::LoadOption{CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, 0, 1000});
  REQUIRE(
      session.post_bulk(id_of<row::cuLinkAddData_v2>(), input, payload, 1, wire::kWantsReply).ok());
  CHECK(session.receive().status == CUDA_SUCCESS);
  CHECK(seen().options == std::vector{CU_JIT_MAX_REGISTERS});
}

std::uint64_t create_context(ServedSession& session) {
  const auto context =
      session.ask(id_of<row::cuCtxCreate_v2>(), body(0U, std::int32_t{0})).get<std::uint64_t>();
  REQUIRE(session.post(id_of<row::bind_context>(), body(context)).ok());
  return context;
}

// cuda.h, cuCtxDestroy: CUlinkState is among what the context takes along.
TEST_CASE("no link is named to the driver once its context is destroyed") {
  seen() = {};
  FakeDriver fake;
  ServedSession session(with_links(fake.table()));
  open(session);
  const auto context = create_context(session);
  const auto link = create_link(session);
  CHECK(session.ask(id_of<row::cuCtxDestroy_v2>(), body(context)).status == CUDA_SUCCESS);
  const Bytes payload(16);
  const Bytes input =
      body(hand::AddLinkInput{payload.size(), link, CU_JIT_INPUT_PTX, 0, hand::kNoLinkName, 0});
  REQUIRE(
      session.post_bulk(id_of<row::cuLinkAddData_v2>(), input, payload, 1, wire::kWantsReply).ok());
  CHECK(session.receive().status == CUDA_ERROR_INVALID_HANDLE);
  CHECK(session.ask(id_of<row::cuLinkComplete>(), body(link)).status == CUDA_ERROR_INVALID_HANDLE);
  CHECK(session.ask(id_of<row::cuLinkDestroy>(), body(link)).status == CUDA_ERROR_INVALID_HANDLE);
  (void)session.end();
  CHECK(seen().links_added == 0);
  CHECK(seen().links_destroyed == 0);
}

TEST_CASE("links that went with their contexts take no room from later ones") {
  seen() = {};
  FakeDriver fake;
  ServedSession session(with_links(fake.table()));
  open(session);
  for (std::size_t i = 0; i < limits::kLinksMax + 2; ++i) {
    const auto context = create_context(session);
    (void)create_link(session);
    CHECK(session.ask(id_of<row::cuCtxDestroy_v2>(), body(context)).status == CUDA_SUCCESS);
  }
}

api::Driver with_green_contexts(api::Driver driver) {
  driver.cuDevResourceGenerateDesc = [](CUdevResourceDesc* description, CUdevResource*, unsigned) {
    return *description = at<CUdevResourceDesc>(0x7350), CUDA_SUCCESS;
  };
  driver.cuGreenCtxCreate = [](CUgreenCtx* green, CUdevResourceDesc, CUdevice, unsigned) {
    return *green = at<CUgreenCtx>(0x7400), CUDA_SUCCESS;
  };
  driver.cuCtxFromGreenCtx = [](CUcontext* view, CUgreenCtx) {
    return *view = at<CUcontext>(0x7500), CUDA_SUCCESS;
  };
  driver.cuGreenCtxDestroy = [](CUgreenCtx) { return CUDA_SUCCESS; };
  driver.cuStreamGetCtx = [](CUstream, CUcontext* view) {
    return *view = at<CUcontext>(0x7500), CUDA_SUCCESS;
  };
  driver.cuCtxGetFlags = [](unsigned* flags) { return *flags = 0, CUDA_SUCCESS; };
  return driver;
}

TEST_CASE("a green context takes its view along, however its client came to know it") {
  seen() = {};
  FakeDriver fake;
  ServedSession session(with_green_contexts(with_links(fake.table())));
  open(session);
  CUdevResource resource{};
  const auto description =
      session.ask(id_of<row::cuDevResourceGenerateDesc>(), body(1U, resource, 1U))
          .get<std::uint64_t>();
  const auto green =
      session.ask(id_of<row::cuGreenCtxCreate>(), body(description, std::int32_t{0}, 0U))
          .get<std::uint64_t>();
  const auto view =
      session.ask(id_of<row::cuStreamGetCtx>(), body(std::uint64_t{0})).get<std::uint64_t>();
  REQUIRE(view != 0);
  CHECK(session.ask(id_of<row::cuGreenCtxDestroy>(), body(green)).status == CUDA_SUCCESS);
  (void)session.end();
  CHECK(seen().views_destroyed == 0);
}

}  // namespace
}  // namespace farcall::server
