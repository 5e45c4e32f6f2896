// TwoServers: the shim with two servers, a:1 and b:1, in this process: the real server code over
// loopback links, and a small device behind each.
//
//   TwoServers two;
//   two.use_devices();                            // contexts of both, the first one's current
//   CUdeviceptr on_b = two.allocate(two.of_b, 256);
//   CHECK(B::count("alloc") == 1);                // what its driver was asked
//
// Threads: one TwoServers at a time.
#pragma once
#include "client_shim/fleet.h"
#include "tests/client_shim/world.h"

namespace farcall::shim {

// A driver of one device. Each instance of the template is another driver, as C functions cannot
// tell them apart otherwise.
template <int kServer>
struct SmallDevice {
  static inline CUdeviceptr base = 0;  // of its memory
  static inline std::size_t used = 0;  // of it, handed out
  static inline std::vector<std::byte> memory;
  static inline std::mutex mutex;
  static inline std::map<std::string, int> counts;
  static inline std::atomic<bool> refuses{false};

  static int count(const std::string& function) {
    std::lock_guard lock(mutex);
    return counts[function];
  }
  static CUresult note(const char* function) {
    std::lock_guard lock(mutex);
    ++counts[function];
    return CUDA_SUCCESS;
  }
  static CUresult copy(CUdeviceptr at, void* host, std::size_t bytes, bool to_device) {
    if (at < base || at - base > memory.size() || bytes > memory.size() - (at - base)) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    std::byte* device = memory.data() + (at - base);
    std::memcpy(to_device ? device : host, to_device ? host : device, bytes);
    return note(to_device ? "to device" : "from device");
  }
  template <class T>
  static T object(std::uint64_t number) {
    return reinterpret_cast<T>(static_cast<std::uintptr_t>(number));  // the same for both drivers
  }

  static void reset(CUdeviceptr address) {
    base = address;
    used = 0;
    memory.assign(32 << 20, std::byte{0});
    counts.clear();
    refuses = false;
  }

  static api::Driver table() {
    api::Driver driver;
    driver.cuInit = [](unsigned) { return refuses ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS; };
    driver.cuDriverGetVersion = [](int* version) {
      return *version = 13000 - kServer, CUDA_SUCCESS;
    };
    driver.cuDeviceGetCount = [](int* count) { return *count = 1, CUDA_SUCCESS; };
    driver.cuDeviceGetName = [](char* name, int bytes, CUdevice) {
      std::snprintf(name, static_cast<std::size_t>(bytes), "small %d", kServer);
      return CUDA_SUCCESS;
    };
    driver.cuDeviceTotalMem_v2 = [](std::size_t* bytes, CUdevice) {
      return *bytes = memory.size(), CUDA_SUCCESS;
    };
    driver.cuDeviceGetPCIBusId = [](char* id, int bytes, CUdevice) {
      std::snprintf(id, static_cast<std::size_t>(bytes), "0000:3b:00.0");
      return CUDA_SUCCESS;
    };
    driver.cuDeviceGetAttribute = [](int* value, CUdevice_attribute, CUdevice) {
      return *value = 1, CUDA_SUCCESS;
    };
    driver.cuDevicePrimaryCtxRetain = [](CUcontext* context, CUdevice device) {
      CHECK(device == 0);
      return *context = object<CUcontext>(0x1000), note("retain");
    };
    driver.cuDevicePrimaryCtxRelease_v2 = [](CUdevice) { return note("release"); };
    driver.cuCtxSetCurrent = [](CUcontext) { return CUDA_SUCCESS; };
    driver.cuCtxGetDevice = [](CUdevice* device) { return *device = 0, CUDA_SUCCESS; };
    driver.cuCtxSynchronize = [] { return note("synchronize"); };
    driver.cuCtxEnablePeerAccess = [](CUcontext, unsigned) { return note("peer access"); };
    driver.cuDeviceCanAccessPeer = [](int* can, CUdevice, CUdevice) {
      return *can = 1, CUDA_SUCCESS;
    };
    driver.cuMemAlloc_v2 = [](CUdeviceptr* at, std::size_t bytes) {
      (void)note("alloc");
      if (bytes > memory.size() - used) return CUDA_ERROR_OUT_OF_MEMORY;
      *at = base + used;
      used += (bytes + 255) / 256 * 256;
      return CUDA_SUCCESS;
    };
    driver.cuMemFree_v2 = [](CUdeviceptr) { return note("free"); };
    driver.cuMemcpyHtoD_v2 = [](CUdeviceptr to, const void* from, std::size_t bytes) {
      return copy(to, const_cast<void*>(from), bytes, true);
    };
    driver.cuMemcpyDtoH_v2 = [](void* to, CUdeviceptr from, std::size_t bytes) {
      return copy(from, to, bytes, false);
    };
    driver.cuMemsetD8_v2 = [](CUdeviceptr at, unsigned char value, std::size_t bytes) {
      std::memset(memory.data() + (at - base), value, bytes);
      return note("fill");
    };
    driver.cuMemcpy3D_v2 = [](const CUDA_MEMCPY3D* copy) { return copy_box(*copy); };
    driver.cuMemcpyDtoD_v2 = [](CUdeviceptr, CUdeviceptr, std::size_t) { return note("copy"); };
    driver.cuStreamCreate = [](CUstream* stream, unsigned) {
      return *stream = object<CUstream>(0x2000), CUDA_SUCCESS;
    };
    driver.cuStreamSynchronize = [](CUstream) { return note("stream"); };
    driver.cuStreamWaitEvent = [](CUstream, CUevent, unsigned) { return note("wait"); };
    driver.cuEventCreate = [](CUevent* event, unsigned) {
      return *event = object<CUevent>(0x3000), CUDA_SUCCESS;
    };
    driver.cuEventRecord = [](CUevent, CUstream) { return note("record"); };
    driver.cuEventSynchronize = [](CUevent) { return note("event"); };
    add_numbers(driver);
    return driver;
  }

 private:
  // Between the device and this process, row by row.
  static CUresult copy_box(const CUDA_MEMCPY3D& c) {
    const bool to_device = c.dstMemoryType == CU_MEMORYTYPE_DEVICE;
    if (to_device == (c.srcMemoryType == CU_MEMORYTYPE_DEVICE)) return CUDA_ERROR_INVALID_VALUE;
    for (std::size_t row = 0; row < c.Height * c.Depth; ++row) {
      const std::size_t y = row % c.Height, z = row / c.Height;
      const std::size_t from = ((c.srcZ + z) * c.srcHeight + c.srcY + y) * c.srcPitch;
      const std::size_t to = ((c.dstZ + z) * c.dstHeight + c.dstY + y) * c.dstPitch;
      auto* host = to_device ? static_cast<const char*>(c.srcHost) + from
                             : static_cast<const char*>(c.dstHost) + to;
      const CUdeviceptr at =
          to_device ? c.dstDevice + to + c.dstXInBytes : c.srcDevice + from + c.srcXInBytes;
      CUresult copied = copy(at, const_cast<char*>(host), c.WidthInBytes, to_device);
      if (copied != CUDA_SUCCESS) return copied;
    }
    return note("box");
  }

  // What CUDA names by numbers of the driver's own, the same ones here for both drivers.
  static void add_numbers(api::Driver& driver) {
    driver.cuMemCreate = [](CUmemGenericAllocationHandle* handle, std::size_t,
                            const CUmemAllocationProp* wanted, unsigned long long) {
      CHECK(wanted->location.id == 0);  // as this server counts its devices
      return *handle = 7, note("create");
    };
    driver.cuMemRelease = [](CUmemGenericAllocationHandle handle) {
      CHECK(handle == 7);
      return note("release memory");
    };
    driver.cuMemAddressReserve = [](CUdeviceptr* at, std::size_t bytes, std::size_t, CUdeviceptr,
                                    unsigned long long) {
      *at = base + used;
      used += bytes;
      return note("reserve");
    };
    driver.cuMemAddressFree = [](CUdeviceptr, std::size_t) { return note("free range"); };
    driver.cuMemMap = [](CUdeviceptr, std::size_t, std::size_t, CUmemGenericAllocationHandle handle,
                         unsigned long long) {
      CHECK(handle == 7);
      return note("map");
    };
    driver.cuMemSetAccess = [](CUdeviceptr, std::size_t, const CUmemAccessDesc*, std::size_t) {
      return note("access");
    };
    driver.cuTexObjectCreate = [](CUtexObject* object, const CUDA_RESOURCE_DESC*,
                                  const CUDA_TEXTURE_DESC*, const CUDA_RESOURCE_VIEW_DESC*) {
      return *object = 5, note("texture");
    };
    driver.cuTexObjectDestroy = [](CUtexObject object) {
      CHECK(object == 5);
      return note("end of texture");
    };
    driver.cuGraphCreate = [](CUgraph* graph, unsigned) {
      return *graph = object<CUgraph>(0x4000), note("graph");
    };
    driver.cuGraphAddMemcpyNode = [](CUgraphNode* node, CUgraph, const CUgraphNode*, std::size_t,
                                     const CUDA_MEMCPY3D*, CUcontext) {
      return *node = object<CUgraphNode>(0x6000), note("copy node");
    };
    driver.cuGraphAddMemsetNode = [](CUgraphNode* node, CUgraph, const CUgraphNode*, std::size_t,
                                     const CUDA_MEMSET_NODE_PARAMS*, CUcontext) {
      return *node = object<CUgraphNode>(0x5000), note("fill node");
    };
  }
};

using A = SmallDevice<0>;
using B = SmallDevice<1>;

struct OneServer {
  explicit OneServer(api::Driver table) : driver(table) {
    auto pair = link::make_loopback_session_pair();
    REQUIRE(pair.ok());
    client = std::move(pair->client);
    session = std::move(pair->server);
    executor = std::make_unique<server::Executor>(driver, *session);
    thread = std::thread([this] { (void)executor->run(); });
  }
  ~OneServer() {
    session->close(Status(Code::kClosed, "the test is over"));
    thread.join();
  }
  const api::Driver driver;
  std::unique_ptr<link::Session> client, session;
  std::unique_ptr<server::Executor> executor;
  std::thread thread;
};

// The shim with two servers, a:1 and b:1, in this process.
class TwoServers {
 public:
  explicit TwoServers(CUdeviceptr base_of_b = 0x20'0000'0000, Settings settings = {}) {
    A::reset(0x10'0000'0000);
    B::reset(base_of_b);
    forget_client_for_test();
    a = std::make_unique<OneServer>(A::table());
    b = std::make_unique<OneServer>(B::table());
    self() = this;
    settings.server = "a:1,tcp://b:1";
    set_connect_for_test(connect, settings);
  }
  ~TwoServers() {
    forget_client_for_test();
    a.reset();
    b.reset();
    set_connect_for_test(nullptr, {});
    self() = nullptr;
  }

  // The primary contexts of both, the first one's current.
  void use_devices() {
    CUDA_OK(cuInit(0));
    CUDA_OK(cuDevicePrimaryCtxRetain(&of_a, 0));
    CUDA_OK(cuDevicePrimaryCtxRetain(&of_b, 1));
    CUDA_OK(cuCtxSetCurrent(of_a));
  }
  CUdeviceptr allocate(CUcontext context, std::size_t bytes) {
    CUdeviceptr at = 0;
    CUDA_OK(cuCtxSetCurrent(context));
    CUDA_OK(cuMemAlloc_v2(&at, bytes));
    return at;
  }

  std::unique_ptr<OneServer> a, b;
  CUcontext of_a = nullptr, of_b = nullptr;

 private:
  static TwoServers*& self() {
    static TwoServers* the_one = nullptr;
    return the_one;
  }
  static Result<std::unique_ptr<link::Session>> connect(const Settings& settings) {
    CHECK((settings.server == "a:1" || settings.server == "tcp://b:1"));
    OneServer& server = settings.server == "a:1" ? *self()->a : *self()->b;
    if (server.client == nullptr) return Status(Code::kClosed, "nobody is there");
    return std::move(server.client);
  }
};

}  // namespace farcall::shim
