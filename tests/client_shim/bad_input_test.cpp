// Every function of the driver API with wrong arguments: null pointers, absurd numbers, handles of
// other kinds and of objects that are gone, in contexts of all sorts. Through the shim each fails
// where the driver itself fails, with its error, and nobody crashes.
//
// The same software GPU, loaded a second time, is called directly and stands behind the World.
#ifdef FARCALL_BAD_INPUT_GPU
#  include <cstdlib>
#  include <string>
#  include <string_view>
#  include <thread>

#  include "client_shim/symbols.h"
#  include "tests/client_shim/loaded_driver.h"
#  include "tests/client_shim/world.h"
#  include "tests/client_shim/wrong_arguments.h"

namespace farcall::shim {
namespace {

constexpr std::uint64_t kTwoTo31 = 1u << 31, kTwoTo32Less1 = UINT32_MAX;
constexpr std::uint64_t kTwoTo63 = std::uint64_t{1} << 63;
const Way kHandleWays[] = {
    {"nulls", 0, Pointers::kNull, Handles::kNull},
    {"zeros", 0, Pointers::kZeros, Handles::kNull},
    {"made-up handles", 1, Pointers::kZeros, Handles::kMadeUp},
    {"foreign handles", 1, Pointers::kZeros, Handles::kForeign},
    {"stale handles", 1, Pointers::kZeros, Handles::kStale},
    {"live and nulls", 1, Pointers::kNull, Handles::kLive},
};
const Way kSizeWays[] = {
    {"2^31", kTwoTo31, Pointers::kZeros, Handles::kLive},
    {"2^32-1", kTwoTo32Less1, Pointers::kZeros, Handles::kLive},
    {"2^63", kTwoTo63, Pointers::kZeros, Handles::kLive},
    {"address 2^63", kTwoTo63, Pointers::kZeros, Handles::kLive, true},
};
const Way kLiveWay{"live", 1, Pointers::kZeros, Handles::kLive};
constexpr std::string_view kNoContext = "without a context", kOtherContext = "in another context",
                           kEnded = "after its context", kFaulted = "after a fault";

struct Exception {
  std::string_view function;
  std::string_view way;  // "": in all
  const char* reason;
  bool covers(std::string_view f, std::string_view w) const {
    return function == f && (way.empty() || way == w);
  }
};

// What is not called with some arguments.
const Exception kNotCalled[] = {
    {"cuStreamWaitValue64_v2", "2^63", "it waits, as it is told to, for what nobody writes"},
    {"cuStreamWaitValue64", "2^63", "as above"},
    {"cuModuleLoadDataEx", "2^31", "a driver reads as many options as it is told"},
    {"cuModuleLoadDataEx", "2^32-1", "as above"},
    {"cuMemcpy", "", "an address no device knows is the program's own memory: it would be written"},
    {"cuMemcpy_ptds", "", "as cuMemcpy"},
    {"cuMemcpyAsync", "", "as cuMemcpy"},
    {"cuMemcpyAsync_ptsz", "", "as cuMemcpy"},
};

// Where one refuses what the other takes.
const Exception kDifferences[] = {
    {"cuMemAllocManaged", "", "both sides are one process here, and cannot both have an address"},
    {"cuDevicePrimaryCtxRelease", "", "what a green context holds of its device is the server's"},
    {"cuDevicePrimaryCtxRelease_v2", "", "as cuDevicePrimaryCtxRelease"},
    {"cuLibraryLoadData", "", "library option 0 is a table of the program's functions"},
    {"cuLibraryLoadFromFile", "", "as cuLibraryLoadData"},
    {"cuLinkDestroy", kEnded, "a link's handle ends with its context, whose resource it is"},
    {"cuGraphDestroy", kEnded, "nothing is posted for a context that is gone"},
    {"cuGraphExecDestroy", kEnded, "as above"},
    {"cuGraphDestroy", kFaulted, "nothing is posted for a context that has faulted"},
    {"cuGraphExecDestroy", kFaulted, "as above"},
    {"cuCtxRecordEvent", kFaulted, "as above"},
    {"cuCtxWaitEvent", kFaulted, "as above"},
    {"cuLaunchKernelEx", kOtherContext, "a kernel and a shape that are both wrong"},
    {"cuStreamGetGreenCtx", kEnded,
     "where a stream was that is gone, there may be another by then"},
    {"cuMemcpyAtoHAsync", kNoContext, "the size of an array is asked for in the current context"},
    {"cuMemcpyAtoHAsync_v2", kNoContext, "as above"},
    {"cuMemcpyHtoAAsync", kNoContext, "as above"},
    {"cuMemcpyHtoAAsync_v2", kNoContext, "as above"},
    {"cuOccupancyMaxPotentialBlockSize", kNoContext, "cuda.h wants one, the software GPU does not"},
    {"cuOccupancyMaxPotentialBlockSizeWithFlags", kNoContext, "as above"},
    {"cuPointerGetAttribute", kNoContext, "the shim knows its memory without one"},
    {"cuLibraryEnumerateKernels", "2^31", "room for more than an answer holds is refused"},
    {"cuLibraryEnumerateKernels", "2^32-1", "as above"},
    {"cuModuleEnumerateFunctions", "2^31", "as above"},
    {"cuModuleEnumerateFunctions", "2^32-1", "as above"},
};

template <std::size_t kCount>
bool is_among(const Exception (&list)[kCount], std::string_view function, std::string_view way) {
  for (const Exception& each : list) {
    if (each.covers(function, way)) return true;
  }
  return false;
}

// Whether the shim's answer will do for the driver's.
bool is_same(CUresult got, CUresult expected, std::string_view way) {
  // Another driver than the software GPU may have it.
  if (got == expected || expected == CUDA_ERROR_NOT_SUPPORTED) return true;
  if (got == CUDA_SUCCESS || expected == CUDA_SUCCESS) return false;
  // Of several things that are wrong CUDA leaves open which is told.
  return way != kLiveWay.name && way != kOtherContext;
}

// The twin of a function differs in its default stream only: it is called in one way.
bool is_twin(std::string_view name) { return name.ends_with("_ptsz") || name.ends_with("_ptds"); }

// A call that may have ended one of the objects, or put one into a state that others see.
bool is_ending(std::string_view name) {
  for (std::string_view part : {"Destroy", "Unload", "Release", "Free", "Detach", "Reset",
                                "Capture", "Reclaim", "Value", "LinkAdd", "LinkComplete"}) {
    if (name.find(part) != name.npos) return true;
  }
  return false;
}

std::string text_of(CUresult result) {
  const char* name = nullptr;
  (void)cuGetErrorName(result, &name);
  return name != nullptr ? name : std::to_string(static_cast<int>(result));
}

// One of the two that are compared.
struct Side {
  explicit Side(api::Driver made) : driver(made) {
    CUDA_OK(driver.cuInit(0));
    CUDA_OK(driver.cuCtxCreate_v2(&other, 0, 0));
    CUDA_OK(driver.cuCtxCreate_v2(&own, 0, 0));
  }
  void make_current(CUcontext context) { CUDA_OK(driver.cuCtxSetCurrent(context)); }
  void renew(CUcontext where) {
    make_current(where);
    objects.make();
  }
  // A context that another thread has destroyed is current.
  void end_current() {
    CUcontext ended = nullptr;
    CUDA_OK(driver.cuCtxCreate_v2(&ended, 0, 0));
    objects.forget();
    objects.make();
    std::thread([&] { (void)driver.cuCtxDestroy_v2(ended); }).join();
    current = ended;
  }
  const api::Driver driver;
  Objects objects{driver};
  CUcontext own = nullptr;
  CUcontext other = nullptr;
  CUcontext current = nullptr;
};

class Sweep {
 public:
  Sweep(const LoadedDriver& loaded, bool strict) : loaded_(loaded), strict_(strict) {}

  void with_contexts(const Way& way, std::string_view name, CUcontext Side::*current,
                     CUcontext Side::*made_in) {
    for (Side* side : {&direct_, &shim_}) side->renew(side->*made_in);
    for (const AnyFunction& function : every_function()) {
      const bool is_skipped = is_twin(function.name) && name != kLiveWay.name;
      if (is_skipped || is_among(kNotCalled, function.name, name)) continue;
      INFO(std::string(function.name), " with ", name);
      if (way.handles == Handles::kStale) {
        for (Side* side : {&direct_, &shim_}) {
          side->make_current(side->*made_in);
          side->objects.make_stale();
        }
      }
      for (Side* side : {&direct_, &shim_}) {
        side->make_current(current != nullptr ? side->*current : nullptr);
      }
      compare(function, way, name);
      if (!is_ending(function.name)) continue;
      for (Side* side : {&direct_, &shim_}) side->renew(side->*made_in);
    }
  }

  void after_the_context() {
    for (const AnyFunction& function : every_function()) {
      if (is_twin(function.name) || is_among(kNotCalled, function.name, kEnded)) continue;
      INFO(std::string(function.name), " ", kEnded);
      for (Side* side : {&direct_, &shim_}) {
        CUcontext now = nullptr;
        (void)side->driver.cuCtxGetCurrent(&now);
        if (now == nullptr || now != side->current) side->end_current();
      }
      compare(function, kLiveWay, kEnded);
      if (!is_ending(function.name)) continue;
      for (Side* side : {&direct_, &shim_}) side->current = nullptr;
    }
  }

  // Makes a kernel write where it must not.
  void fault() {
    for (Side* side : {&direct_, &shim_}) {
      side->objects.forget();
      CUDA_OK(side->driver.cuCtxCreate_v2(&side->current, 0, 0));
      side->objects.make();
      CUDA_OK(side->driver.cuLaunchKernel(side->objects.faulting(), 1, 1, 1, 1, 1, 1, 0, nullptr,
                                          nullptr, nullptr));
      CHECK(side->driver.cuCtxSynchronize() == CUDA_ERROR_ILLEGAL_ADDRESS);
    }
  }
  void after_a_fault() {
    fault();
    for (const AnyFunction& function : every_function()) {
      if (is_twin(function.name) || is_among(kNotCalled, function.name, kFaulted)) continue;
      INFO(std::string(function.name), " ", kFaulted);
      for (Side* side : {&direct_, &shim_}) (void)side->driver.cuCtxSetCurrent(side->current);
      compare(function, kLiveWay, kFaulted);
      if (is_ending(function.name)) fault();
    }
  }

  int compared() const { return compared_; }
  Side& shim() { return shim_; }

 private:
  void compare(const AnyFunction& function, const Way& way, std::string_view name) {
    void* direct = loaded_.find(function.name);
    void* shim = find_symbol(function.name);
    REQUIRE(direct != nullptr);
    REQUIRE(shim != nullptr);
    const CUresult expected = function.call(direct, way, direct_.objects);
    CUresult got = function.call(shim, way, shim_.objects);
    // What was only posted says so later.
    if (!strict_ && got == CUDA_SUCCESS && expected != CUDA_SUCCESS) got = cuCtxSynchronize();
    ++compared_;
    if (is_same(got, expected, name)) return;
    if (is_among(kDifferences, function.name, name)) return;
    FAIL_CHECK(std::string(function.name)
               << ": " << name << ": " << text_of(got) << " instead of " << text_of(expected));
  }

  const LoadedDriver& loaded_;
  const bool strict_;
  Side direct_{loaded_.table()};
  Side shim_{shim_table()};
  int compared_ = 0;
};

struct Stage {
  explicit Stage(bool strict = true) : world(behind, strict), sweep(direct, strict) {}
  ~Stage() {
    // All are well after it.
    CUDA_OK(cuCtxSetCurrent(sweep.shim().other));
    CUdeviceptr address = 0;
    CUDA_OK(cuMemAlloc_v2(&address, 256));
    CUDA_OK(cuMemsetD8_v2(address, 7, 256));
    CUDA_OK(cuCtxSynchronize());
    CUDA_OK(cuMemFree_v2(address));
    CHECK(sweep.compared() > 400);
  }
  const LoadedDriver behind, direct;
  World world;
  Sweep sweep;
};

}  // namespace

TEST_CASE("wrong pointers and handles get the driver's own answers, and crash nobody") {
  Stage stage;
  for (const Way& way : kHandleWays) {
    stage.sweep.with_contexts(way, way.name, &Side::own, &Side::own);
  }
}

TEST_CASE("absurd sizes and addresses get the driver's own answers, and crash nobody") {
  Stage stage;
  for (const Way& way : kSizeWays) {
    stage.sweep.with_contexts(way, way.name, &Side::own, &Side::own);
  }
}

TEST_CASE("so do calls without a context, in another one, and after theirs has ended") {
  Stage stage;
  stage.sweep.with_contexts(kLiveWay, kLiveWay.name, &Side::own, &Side::own);
  stage.sweep.with_contexts(kLiveWay, kNoContext, nullptr, &Side::own);
  stage.sweep.with_contexts(kLiveWay, kOtherContext, &Side::own, &Side::other);
  stage.sweep.after_the_context();
}

TEST_CASE("so do calls after a kernel has faulted") {
  Stage stage;
  stage.sweep.after_a_fault();
}

TEST_CASE("what is wrong with a posted call is told by the next that waits") {
  Stage stage(false);
  stage.sweep.with_contexts(kLiveWay, kLiveWay.name, &Side::own, &Side::own);
  stage.sweep.with_contexts(kHandleWays[4], kHandleWays[4].name, &Side::own, &Side::own);
}

}  // namespace farcall::shim
#endif
