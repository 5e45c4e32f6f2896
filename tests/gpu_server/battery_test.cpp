// Hostile clients by the number: what they make up reaches no driver, and nobody else's session.
#include <doctest/doctest.h>

#include <memory>
#include <set>

#include "tests/gpu_server/served_session.h"
#include "tests/support/battery.h"
#include "transport/api/dispatch.h"
#include "transport/api/hand.h"
#include "transport/api/rows.h"

namespace farcall::server {
namespace {

namespace row = api::row;

// A driver that knows every object it made, and counts what it is given that it did not make, or
// has destroyed, or has made as something else.
class Watched {
 public:
  static api::Driver driver() {
    made() = {};
    api::Driver driver;
    driver.cuInit = [](unsigned) { return CUDA_SUCCESS; };
    driver.cuDriverGetVersion = [](int* version) { return *version = 13000, CUDA_SUCCESS; };
    driver.cuDeviceGetCount = [](int* count) { return *count = 1, CUDA_SUCCESS; };
    driver.cuDevicePrimaryCtxRetain = [](CUcontext* context, CUdevice) {
      return *context = reinterpret_cast<CUcontext>(0x10), CUDA_SUCCESS;
    };
    driver.cuDevicePrimaryCtxRelease_v2 = [](CUdevice) { return CUDA_SUCCESS; };
    driver.cuCtxSetCurrent = [](CUcontext) { return CUDA_SUCCESS; };
    driver.cuStreamCreate = make<CUstream, unsigned>;
    driver.cuStreamDestroy_v2 = destroy<CUstream>;
    driver.cuStreamQuery = take<CUstream>;
    driver.cuEventCreate = make<CUevent, unsigned>;
    driver.cuEventDestroy_v2 = destroy<CUevent>;
    driver.cuEventQuery = take<CUevent>;
    driver.cuEventSynchronize = take<CUevent>;
    return driver;
  }
  static unsigned foreign() { return made().foreign; }

 private:
  struct Made {
    std::set<CUstream> streams;
    std::set<CUevent> events;
    std::uintptr_t next = 0x1000;
    unsigned foreign = 0;
  };
  static Made& made() {
    static Made all;
    return all;
  }
  template <class T>
  static std::set<T>& all() {
    if constexpr (std::is_same_v<T, CUstream>) return made().streams;
    if constexpr (std::is_same_v<T, CUevent>) return made().events;
  }
  template <class T, class... Options>
  static CUresult make(T* object, Options...) {
    return *object = reinterpret_cast<T>(made().next += 16), all<T>().insert(*object), CUDA_SUCCESS;
  }
  template <class T>
  static CUresult take(T object) {
    if (object != nullptr && !all<T>().contains(object)) ++made().foreign;
    return CUDA_SUCCESS;
  }
  template <class T>
  static CUresult destroy(T object) {
    if (all<T>().erase(object) == 0) ++made().foreign;
    return CUDA_SUCCESS;
  }
};

// A session with a stream, an event, and an event that it has destroyed.
struct Tenant {
  static constexpr std::uint64_t kFirst = 0x5000;

  // number: no two tenants have the same ids.
  explicit Tenant(const api::Driver& driver, unsigned number = 0)
      : session(driver), stream(kFirst + 0x100 * number), event(stream + 1), stale(stream + 2) {
    const Reply opened = session.ask(row::cuInit::info().id,
                                     body(api::hand::OpenRequest{api::hand::kOpenVersion, 0}));
    REQUIRE(opened.status == CUDA_SUCCESS);
    const auto context =
        opened.get<api::hand::DeviceFacts>(sizeof(api::hand::OpenReply)).primary_context;
    REQUIRE(session.post(row::bind_context::info().id, body(context)).ok());
    REQUIRE(session.post(row::cuStreamCreate::info().id, body(stream, 0U)).ok());
    REQUIRE(session.post(row::cuEventCreate::info().id, body(event, 0U)).ok());
    REQUIRE(session.post(row::cuEventCreate::info().id, body(stale, 0U)).ok());
    REQUIRE(session.post(row::cuEventDestroy_v2::info().id, body(stale)).ok());
    REQUIRE(is_well());
  }
  bool is_well() {
    return session.ask(row::cuEventQuery::info().id, body(event)).status == CUDA_SUCCESS;
  }

  ServedSession session;
  std::uint64_t stream, event, stale;
};

// The answer's status; nothing when the session has ended.
std::optional<CUresult> answer(ServedSession& session) {
  for (;;) {
    auto frame = session.client().receive(Deadline::after(system_clock(), 20'000));
    if (!frame.ok()) {
      CHECK(frame.status().code() != Code::kTimeout);
      return std::nullopt;
    }
    if (frame.value().head.call == 0) continue;  // a notice
    wire::Reader in(frame.value().body);
    return static_cast<CUresult>(in.get<std::uint32_t>());
  }
}

}  // namespace

TEST_CASE("forged, stale and other tenants' handles by the number reach no driver") {
  const api::Driver driver = Watched::driver();
  Tenant victim(driver, 1);
  Tenant hostile(driver);
  const struct {
    std::uint16_t id;
    std::uint64_t own;  // the one handle that is right
  } calls[] = {{row::cuEventQuery::info().id, hostile.event},
               {row::cuEventSynchronize::info().id, hostile.event},
               {row::cuStreamQuery::info().id, hostile.stream}};
  Chance chance;
  unsigned let_in = 0;
  for (unsigned i = 0; i < hostile_inputs(); ++i) {
    const std::uint64_t handles[] = {chance.bits(),
                                     victim.event,
                                     victim.stream,
                                     hostile.stale,
                                     hostile.event,
                                     hostile.stream,
                                     hostile.event ^ std::uint64_t{1} << chance.below(64),
                                     hostile.stream ^ std::uint64_t{1} << chance.below(64)};
    const std::uint64_t handle = handles[chance.below(std::size(handles))];
    const auto& call = calls[chance.below(std::size(calls))];
    if (handle == call.own || handle <= 2) continue;  // 0, 1 and 2 are streams of everybody's
    let_in += hostile.session.ask(call.id, body(handle)).status == CUDA_SUCCESS;
  }
  CHECK(let_in == 0);
  CHECK(Watched::foreign() == 0);
  CHECK(hostile.is_well());
  CHECK(victim.is_well());
}

TEST_CASE("malformed frames by the number end their own session at most") {
  const api::Driver driver = Watched::driver();
  Tenant victim(driver, 1);
  std::unique_ptr<Tenant> hostile;
  Chance chance;
  unsigned ended = 0;
  for (unsigned i = 0; i < hostile_inputs(); ++i) {
    if (hostile == nullptr) hostile = std::make_unique<Tenant>(driver);
    Bytes bytes(chance.below(96));
    for (std::byte& one : bytes) one = static_cast<std::byte>(chance.bits());
    // Half of them of a row that there is.
    auto id = static_cast<std::uint16_t>(chance.bits());
    while (i % 2 == 0 && api::find_row(id) == nullptr)
      id = static_cast<std::uint16_t>(chance.bits());
    // Whole with an empty body, and rightly unanswered until there is a host function to call.
    if (id == row::await_host_function::info().id) continue;
    const Status sent = hostile->session.post(id, bytes, 1, wire::kWantsReply);
    if (!sent.ok() || !answer(hostile->session)) {
      ++ended;
      hostile.reset();
    }
  }
  CHECK(ended > 0);
  CHECK(Watched::foreign() == 0);
  CHECK(victim.is_well());
}

}  // namespace farcall::server
