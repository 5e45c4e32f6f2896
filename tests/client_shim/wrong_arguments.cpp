#include "tests/client_shim/wrong_arguments.h"

#include <doctest/doctest.h>
#include <sys/mman.h>

#include <cstring>

#include "client_shim/profiler.h"

namespace farcall::shim {
namespace {

// One piece of zeros for each argument, larger than any struct of CUDA's.
constexpr std::size_t kZeroBytes = 4096;
constexpr std::size_t kArgumentsMax = 20;

std::byte* zeros(std::size_t index) {
  static std::byte* const all = [] {
    void* made = ::mmap(nullptr, 2 * kZeroBytes * kArgumentsMax, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(made != MAP_FAILED);
    return static_cast<std::byte*>(made);
  }();
  return all + 2 * kZeroBytes * index;
}

void clear(std::size_t arguments) {
  for (std::size_t i = 0; i < arguments; ++i) {
    // A function that takes memory over may have changed its protection.
    REQUIRE(::mprotect(zeros(i), kZeroBytes, PROT_READ | PROT_WRITE) == 0);
    std::memset(zeros(i), 0, kZeroBytes);
  }
}

template <class F>
struct Nothing;
template <class R, class... A>
struct Nothing<R(A...)> {
  static R call(A...) {
    if constexpr (!std::is_void_v<R>) return R{};
  }
};

// What a pointer points to when it is exact; attribute 1 is never longer than a pointer.
template <class Target>
constexpr std::size_t exact_bytes() {
  if constexpr (std::is_void_v<Target>) {
    return sizeof(void*);
  } else if constexpr (std::is_same_v<Target, float>) {
    return 4 * sizeof(float);  // of a colour
  } else {
    return sizeof(Target);
  }
}

template <class T>
T argument(const Way& way, const Objects& objects, std::size_t index) {
  if constexpr (api::Handle<T>) {
    return objects.handle<T>(way.handles);
  } else if constexpr (std::is_pointer_v<T>) {
    using Target = std::remove_pointer_t<T>;
    if (way.pointers == Pointers::kNull) return nullptr;
    if constexpr (std::is_function_v<Target>) {
      return &Nothing<Target>::call;
    } else {
      const bool is_exact = way.pointers == Pointers::kExact;
      return reinterpret_cast<T>(zeros(index) +
                                 (is_exact ? kZeroBytes - exact_bytes<Target>() : 0));
    }
  } else if constexpr (std::is_same_v<T, CUdeviceptr>) {
    return way.wild_addresses ? way.number : objects.handle<T>(way.handles);
  } else if constexpr (std::is_integral_v<T> || std::is_floating_point_v<T>) {
    return static_cast<T>(way.number);
  } else {
    T made;
    std::memset(static_cast<void*>(&made), 0, sizeof(made));
    if constexpr (std::is_enum_v<T>) {
      const std::uint64_t number = way.number > INT32_MAX ? INT32_MAX : way.number;
      std::memcpy(&made, &number, sizeof(made));
    }
    return made;
  }
}

template <class... A, std::size_t... I>
CUresult call_with(CUresult (*function)(A...), [[maybe_unused]] const Way& way,
                   [[maybe_unused]] const Objects& objects, std::index_sequence<I...>) {
  static_assert(sizeof...(A) <= kArgumentsMax);
  clear(sizeof...(A));
  return function(argument<A>(way, objects, I)...);
}

template <class F>
struct Caller;
template <class... A>
struct Caller<CUresult(A...)> {
  static CUresult call(void* function, const Way& way, const Objects& objects) {
    return call_with(reinterpret_cast<CUresult (*)(A...)>(function), way, objects,
                     std::index_sequence_for<A...>{});
  }
};

const AnyFunction kFunctions[] = {
#define FARCALL_FUNCTION(F) {#F, Caller<decltype(::F)>::call},
#define API(ID, F, WHEN, ...) FARCALL_FUNCTION(F)
#define API_PTSZ(ID, F, WHEN, ...) FARCALL_FUNCTION(F) FARCALL_FUNCTION(F##_ptsz)
#define HAND(ID, F, WHEN) FARCALL_FUNCTION(F)
#define HAND_PTSZ(ID, F, WHEN, N) FARCALL_FUNCTION(F) FARCALL_FUNCTION(F##_ptsz)
#define LOCAL(F) FARCALL_FUNCTION(F)
#define LOCAL_PTSZ(F, N) FARCALL_FUNCTION(F) FARCALL_FUNCTION(F##_ptsz)
#define LOCAL_ONLY(F) FARCALL_FUNCTION(F)
#define PTDS(TWIN, F, N) FARCALL_FUNCTION(TWIN)
#define PTDS_WAITS(TWIN, F, N) FARCALL_FUNCTION(TWIN)
#define SAME(F, G, N) FARCALL_FUNCTION(F)
#include "transport/api/table.inc"
#undef FARCALL_FUNCTION
};

const char* const kPtx = R"(.version 7.0
.target sm_50
.address_size 64
.visible .global .align 8 .u64 word;
.visible .entry empty() { ret; }
.visible .entry faulting()
{
  .reg .u64 %rd<2>;
  mov.u64 %rd1, 8;
  st.global.u64 [%rd1], %rd1;
  ret;
}
)";

#define MADE(call) REQUIRE((call) == CUDA_SUCCESS)

}  // namespace

std::span<const AnyFunction> every_function() { return kFunctions; }

ObjectSet Objects::create() {
  const api::Driver& d = driver_;
  ObjectSet set{};
  auto at = [&set]<class T>(T) { return &std::get<T>(set); };
  CUcontext current = nullptr;
  MADE(d.cuCtxGetCurrent(&current));
  MADE(d.cuCtxCreate_v2(at(CUcontext{}), 0, 0));
  MADE(d.cuCtxSetCurrent(current));
  MADE(d.cuModuleLoadData(at(CUmodule{}), kPtx));
  MADE(d.cuModuleGetFunction(at(CUfunction{}), std::get<CUmodule>(set), "empty"));
  MADE(d.cuModuleGetFunction(&faulting_, std::get<CUmodule>(set), "faulting"));
  MADE(d.cuLibraryLoadData(at(CUlibrary{}), kPtx, nullptr, nullptr, 0, nullptr, nullptr, 0));
  MADE(d.cuLibraryGetKernel(at(CUkernel{}), std::get<CUlibrary>(set), "empty"));
  MADE(d.cuStreamCreate(at(CUstream{}), CU_STREAM_NON_BLOCKING));
  MADE(d.cuEventCreate(at(CUevent{}), 0));
  const CUDA_ARRAY_DESCRIPTOR flat{8, 8, CU_AD_FORMAT_FLOAT, 1};
  MADE(d.cuArrayCreate_v2(at(CUarray{}), &flat));
  const CUDA_ARRAY3D_DESCRIPTOR levels{8, 8, 0, CU_AD_FORMAT_FLOAT, 1, 0};
  MADE(d.cuMipmappedArrayCreate(at(CUmipmappedArray{}), &levels, 1));
  CUmemPoolProps pool{};
  pool.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
  pool.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
  MADE(d.cuMemPoolCreate(at(CUmemoryPool{}), &pool));
  MADE(d.cuGraphCreate(at(CUgraph{}), 0));
  const CUgraph graph = std::get<CUgraph>(set);
  MADE(d.cuGraphAddEmptyNode(at(CUgraphNode{}), graph, nullptr, 0));
  MADE(d.cuGraphInstantiateWithFlags(at(CUgraphExec{}), graph, 0));
  MADE(d.cuLinkCreate_v2(0, nullptr, nullptr, at(CUlinkState{})));
  MADE(d.cuUserObjectCreate(at(CUuserObject{}), &set, &Nothing<void(void*)>::call, 1,
                            CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
  CUdevResource resource{};
  MADE(d.cuDeviceGetDevResource(0, &resource, CU_DEV_RESOURCE_TYPE_SM));
  MADE(d.cuDevResourceGenerateDesc(at(CUdevResourceDesc{}), &resource, 1));
  MADE(d.cuGreenCtxCreate(at(CUgreenCtx{}), std::get<CUdevResourceDesc>(set), 0,
                          CU_GREEN_CTX_DEFAULT_STREAM));
  MADE(d.cuMemAlloc_v2(at(CUdeviceptr{}), 256));
  // What a wait for a value of 1 waits for.
  const std::uint64_t one = 1;
  MADE(d.cuMemcpyHtoD_v2(std::get<CUdeviceptr>(set), &one, sizeof(one)));
  return set;
}

// Whatever a call has left of them.
void Objects::destroy(const ObjectSet& set) {
  const api::Driver& d = driver_;
  CUgraph captured = nullptr;
  (void)d.cuStreamEndCapture(std::get<CUstream>(set), &captured);
  (void)d.cuStreamEndCapture(CU_STREAM_PER_THREAD, &captured);
  (void)d.cuMemFree_v2(std::get<CUdeviceptr>(set));
  (void)d.cuGreenCtxDestroy(std::get<CUgreenCtx>(set));
  (void)d.cuUserObjectRelease(std::get<CUuserObject>(set), 1);
  (void)d.cuLinkDestroy(std::get<CUlinkState>(set));
  (void)d.cuGraphExecDestroy(std::get<CUgraphExec>(set));
  (void)d.cuGraphDestroy(std::get<CUgraph>(set));
  (void)d.cuMemPoolDestroy(std::get<CUmemoryPool>(set));
  (void)d.cuMipmappedArrayDestroy(std::get<CUmipmappedArray>(set));
  (void)d.cuArrayDestroy(std::get<CUarray>(set));
  (void)d.cuEventDestroy_v2(std::get<CUevent>(set));
  (void)d.cuStreamDestroy_v2(std::get<CUstream>(set));
  (void)d.cuLibraryUnload(std::get<CUlibrary>(set));
  (void)d.cuModuleUnload(std::get<CUmodule>(set));
  (void)d.cuCtxDestroy_v2(std::get<CUcontext>(set));
  // Failures of calls that nobody waited for end here.
  (void)d.cuCtxSynchronize();
}

void Objects::make() {
  if (live_ != ObjectSet{}) destroy(live_);
  live_ = create();
}

void Objects::make_stale() {
  const CUfunction faulting = faulting_;
  stale_ = create();
  destroy(stale_);
  faulting_ = faulting;
}

}  // namespace farcall::shim
