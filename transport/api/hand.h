// Hand-written rows: the bodies of the messages that no row can describe, because their length is
// not in the prototype, their bytes go over the bulk lane, or they are no CUDA function at all.
//
//   client:  out.put(CopyToDevice{bytes, dst, stream});  out.bytes(host, bytes);
//   server:  auto copy = in.get<CopyToDevice>();
//
// Each struct is the start of a body, copied as it stands: no padding, no pointers. Handles are
// ids. `rep` below is what a reply holds after its u32 CUresult, and only when that is
// CUDA_SUCCESS, unless it says "always".
//
// Two rules for the bulk lane, so that a receiver can always skip a payload it will not use:
//   a request with kBulkFollows begins with u64 payload_bytes;
//   a reply with kBulkFollows is u32 CUresult, u64 payload_bytes, and then the rest.
// A reply repeats `call` and `thread` of its request.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "transport/base/limits.h"
#include "transport/cuda/cuda_abi.h"

namespace farcall::api::hand {

// --- 0x0001 cuInit: opens the session
// ---------------------------------------------------------------- rep: OpenReply, then
// device_count times: DeviceFacts, then i32 value[attribute_count] of CUdevice_attribute 1 …
// attribute_count, kNoAttribute where the driver refused.
inline constexpr std::uint32_t kOpenVersion = 1;
inline constexpr std::int32_t kNoAttribute = INT32_MIN;
struct OpenRequest {
  std::uint32_t version;  // kOpenVersion
  std::uint32_t server;   // below limits::kServersMax: the mark of every id of this session
};
struct OpenReply {
  std::int32_t driver_version;    // 13000
  std::uint32_t device_count;     // at most limits::kDevicesMax
  std::uint32_t attribute_count;  // CU_DEVICE_ATTRIBUTE_MAX - 1 of the server's build
};
struct DeviceFacts {
  std::uint64_t primary_context;  // its id, reserved even before it is retained
  std::uint64_t memory_bytes;
  std::uint8_t uuid[16];
  char pci_bus_id[16];  // ends with NUL
  char name[128];       // ends with NUL
};
static_assert(sizeof(OpenReply) + limits::kDevicesMax * (sizeof(DeviceFacts) + 192 * 4) + 4 <=
                  limits::kFrameBodyBytesMax,
              "a full server's facts fit one reply");

// --- 0x0002 bind_context: the thread's current context from here on; no reply
// -------------------------- A primary context may be bound before it was retained: the server
// makes it current when it can.
struct BindContext {
  std::uint64_t context;  // 0: none
};

// --- 0x0003 end_thread: this client thread is gone; empty body, no reply
// ------------------------------

// --- 0x0004 device_output: what kernels printed, from the server to the client
// ------------------------- The one frame a server sends unasked: flags kReply, call 0, thread 0;
// body DeviceOutput, then the bytes. It comes before the reply to the call that made the device
// flush them.
struct DeviceOutput {
  std::uint32_t stream;  // 1 stdout, 2 stderr
  std::uint32_t bytes;
};

// --- 0x0008 copy_landed: the bytes of a cuMemcpyDtoHAsync_v2 that nobody waited for
// ------------------------- Sent unasked: flags kReply, call 0, thread 0. Body as a reply: u32
// CUresult, u64 payload_bytes (0 on failure), CopyLanded, then the bytes inline up to
// limits::kInlineCopyBytesMax, else kBulkFollows. It comes before every reply that proves the copy
// complete, and copies of which one depends on another come in that order.
struct CopyLanded {
  std::uint64_t landing;  // of the request
};

// --- 0x0009 await_host_function: empty body; always with an answer, one at a time
// ------------------------- rep: HostTurn, as soon as a host function's turn has come. The function
// itself stays in the client; on the server a gate stands in its place in the stream, and opens
// when the client says that the function has run.
struct HostTurn {
  std::uint64_t id;      // HostFunction::id
  std::uint64_t turn;    // for finish_host_function; 0: the gate is not there, nothing to finish
  std::uint32_t status;  // CUresult of the work before it, for callbacks
  std::uint32_t flags;   // kHostAgain
};
inline constexpr std::uint32_t kHostAgain = 1;  // of a graph: it may have its turn again

// --- 0x000a finish_host_function: no reply; a turn that is not open any more changes nothing
struct FinishHostFunction {
  std::uint64_t turn;
};

// --- 0x000b failed_earlier: what the next reply of this thread reports is the failure of a call
// that nobody waited for
// ------------------------- Sent unasked: flags kReply, call 0, the thread of that reply. Only the
// first of several such failures is reported.
struct FailedEarlier {
  std::uint64_t function;  // what a launch was to launch; 0 for other calls
  std::uint32_t call;      // the one that failed
  std::uint32_t status;    // CUresult
  std::uint16_t row;       // of that call
  std::uint16_t zero;
  std::uint32_t others;  // failed after it, and are not reported
};
static_assert(sizeof(FailedEarlier) == 24);

// --- 0x000c events_done: events found to be done while a reply was made, that client's threads
// have asked for before
// ------------------------- Sent unasked before that reply: flags kReply, call 0, thread 0. Body: 1
// … limits::kToldEventsMax times EventDone. Every copy_landed of a copy that such an event proves
// complete comes before it.
struct EventDone {
  std::uint64_t event;
  std::uint32_t record;  // the call that recorded it; a later record is not done by this
  std::uint32_t zero;
};
static_assert(sizeof(EventDone) == 16);

// --- 0x0010 probe_facts: empty body.  rep: ProbeFacts
struct ProbeFacts {
  std::uint32_t engine;  // link::Engine
  std::uint32_t cores;
  double seal_64_ns;   // what sealing 64 bytes costs there
  double seal_16k_ns;  // … and 16 KiB
};

// --- 0x0011 probe_echo: u32 bytes, at most limits::kProbeEchoBytesMax, then the bytes.  rep: they
// --- 0x0012 probe_sink: u64 payload_bytes, the payload on the bulk lane.  rep: nothing
// --- 0x0013 probe_source: u64 bytes.  rep: u64 payload_bytes, the payload on the bulk lane
// Payloads: at most limits::kProbePayloadBytesMax.

// --- 0x0110 cuDevicePrimaryCtxRetain
// --------------------------------------------------------------------- The client counts its own
// retains; one message for the first, one cuDevicePrimaryCtxRelease_v2 for the last. The context's
// id is the one of DeviceFacts, so nobody need wait for the answer.  rep: nothing.
struct RetainPrimary {
  std::int32_t device;
};

// --- 0x0601 cuMemcpyHtoD_v2, 0x0602 cuMemcpyHtoDAsync_v2
// --------------------------------------------- Then the bytes: inline up to
// limits::kInlineCopyBytesMax, else on the bulk lane. Posted without kWantsReply when the client
// knows the allocation; else with it.  rep: nothing.
struct CopyToDevice {
  std::uint64_t payload_bytes;
  std::uint64_t dst;
  std::uint64_t stream;  // 0 for the synchronous row
};

// --- 0x0603 cuMemcpyDtoH_v2, 0x0604 cuMemcpyDtoHAsync_v2
// --------------------------------------------- rep: u64 payload_bytes, then the bytes inline up to
// limits::kInlineCopyBytesMax, else kBulkFollows.
// With a landing: no kWantsReply, 1 … limits::kLateCopyBytesMax bytes, and whatever becomes of the
// copy, one copy_landed says so.
struct CopyFromDevice {
  std::uint64_t src;
  std::uint64_t bytes;
  std::uint64_t stream;       // 0 for the synchronous row
  std::uint64_t landing = 0;  // asynchronous row only: the client's number for this copy
};

// --- 0x0605 cuMemcpy3D_v2: every copy with a shape
// --------------------------------------------------- src host: the payload is width_bytes * height
// * depth bytes, packed; inline or bulk. dst host: rep as CopyFromDevice, packed.  Neither: no
// payload. Any size in one message: the payload passes through the server in pieces that its own
// staging holds.
enum class Place : std::uint8_t { kHost = 0, kDevice = 1, kArray = 2 };
struct ShapeEnd {
  std::uint64_t address;  // device pointer or array id; 0 for the host
  std::uint64_t pitch;    // bytes from row to row; unused for arrays and host
  std::uint64_t height;   // rows from slice to slice
  std::uint64_t x_bytes;
  std::uint64_t y;
  std::uint64_t z;
  std::uint64_t lod;
};
struct CopyShape {
  std::uint64_t payload_bytes;  // 0 unless src is the host
  std::uint64_t stream;
  Place src_place;
  Place dst_place;
  std::uint8_t is_async;
  std::uint8_t zero_1;
  std::uint32_t zero_2;
  ShapeEnd src;
  ShapeEnd dst;
  std::uint64_t width_bytes;
  std::uint64_t height;
  std::uint64_t depth;
};
static_assert(sizeof(CopyShape) == 160);

// --- 0x0301 cuModuleLoadData, 0x0401 cuLibraryLoadData ------------------------------------------
//
// LoadImage, then option_count times LoadOption, then for libraries library_option_count times
// LoadOption, then ImageName if kImageNamed. The image (cuda::pack_image) is the payload on the
// bulk lane, where it may be kept under its name; or there is a name and no payload, and the server
// looks for what it has kept.
//
// rep, always, also after a failure: LoadAnswer, u32 info_bytes, info log, u32 error_bytes, error
// log, u32 n, n times NamedFunction. A log is there when its buffer size was among the options.
// NamedFunction, if kWantFunctions: FunctionFacts, its sizes, u32 name_bytes, name, no NUL. All
// functions of the image, or the first of them, or none: what is missing is asked for by name.
struct LoadImage {
  std::uint64_t payload_bytes;         // 1 … limits::kModuleBytesMax; 0: by name
  std::uint32_t option_count;          // at most kLoadOptionsMax
  std::uint32_t library_option_count;  // 0 for modules
  std::uint32_t flags;                 // kImageNamed, kWantFunctions
  std::uint32_t zero;
};
inline constexpr std::uint32_t kImageNamed = 1;
inline constexpr std::uint32_t kWantFunctions = 2;
// How the client and nobody else knows an image: gpu_server/module_cache.h.
struct ImageName {
  std::uint64_t bytes;
  std::array<std::byte, 32> id;
  std::array<std::byte, 32> key;
};
enum class LoadOutcome : std::uint32_t {
  kTried = 0,    // the driver had the image, and the status is its word
  kUnknown = 1,  // no image of this name: send it
  kNoCache = 2,  // nothing is kept here: send it, and ask no more
};
struct LoadAnswer {
  std::uint64_t id;  // 0 on failure
  LoadOutcome outcome;
  std::uint32_t zero;
};
struct LoadOption {
  std::uint32_t option;  // CUjit_option or CUlibraryOption; only those with a plain value
  std::uint32_t zero;
  std::uint64_t value;
};
inline constexpr std::size_t kLoadOptionsMax = 64;
inline constexpr std::size_t kLoadLogBytesMax = 16 * 1024;  // of each log

// --- 0x0302 cuModuleGetFunction, 0x0402 cuLibraryGetKernel, 0x0403 cuKernelGetFunction
// --------------- u64 id of the module, library or kernel; the first two then u32 name_bytes and
// the name, no NUL. rep: FunctionFacts, then u32 param_bytes[param_count] unless that is kNoParams.
struct FunctionFacts {
  std::uint64_t id;
  // [CUfunction_attribute]; kNoAttribute when the driver cannot tell
  std::array<std::int32_t, 16> attributes;
  std::uint32_t param_count;  // kNoParams: the driver cannot tell
  std::uint32_t zero;
};
inline constexpr std::uint32_t kNoParams = 0xffffffff;
inline constexpr std::size_t kParamsMax = 4096;

// --- 0x0330 cuLinkCreate_v2, 0x0331 cuLinkAddData_v2, 0x0332 cuLinkComplete: linking at run time
// ------------------------- CreateLink, then option_count times LoadOption. AddLinkInput, then
// option_count times LoadOption and the name, no NUL; the input is the payload on the bulk lane.
// CompleteLink alone.
//
// rep, always, also after a failure: LinkAnswer, u32 info_bytes, info log, u32 error_bytes, error
// log: all that the driver has written so far into the buffers of cuLinkCreate.
// Of a cuLinkComplete that succeeded instead, with kBulkFollows: u32 CUresult, u64 payload_bytes,
// the two logs; the payload is the linked image.
struct CreateLink {
  std::uint32_t option_count;  // at most kLoadOptionsMax
  std::uint32_t zero;
};
struct AddLinkInput {
  std::uint64_t payload_bytes;  // 1 … limits::kModuleBytesMax
  std::uint64_t link;
  std::uint32_t type;          // CUjitInputType
  std::uint32_t option_count;  // at most kLoadOptionsMax
  std::uint32_t name_bytes;    // at most limits::kStringBytesMax; kNoLinkName: null
  std::uint32_t zero;
};
inline constexpr std::uint32_t kNoLinkName = 0xffffffff;
struct CompleteLink {
  std::uint64_t link;
};
struct LinkAnswer {
  std::uint64_t id;  // of a new link; else 0
};

// --- 0x0a01 cuLaunchKernel: every launch
// ----------------------------------------------------------------- Launch, then attribute_count
// times put_attribute (deep.h, 72 bytes each), then LaunchParams, then param_bytes bytes: the
// parameters one after the other without gaps, or the `extra` buffer as it is. No reply unless
// wanted.
enum class LaunchKind : std::uint32_t { kPlain = 0, kCooperative = 1, kEx = 2 };
enum class ParamForm : std::uint32_t { kBySizes = 0, kBuffer = 1 };
struct Launch {
  std::uint64_t function;  // a function or a kernel
  std::uint32_t grid[3];
  std::uint32_t block[3];
  std::uint32_t shared_bytes;
  LaunchKind kind;
  std::uint64_t stream;
  std::uint32_t attribute_count;  // at most limits::kLaunchAttributesMax; 0 unless kEx
  std::uint32_t zero;
};
static_assert(sizeof(Launch) == 56);
struct LaunchParams {
  ParamForm form;
  std::uint32_t param_bytes;  // at most limits::kKernelParamBytesMax
};

// --- 0x0835 cuStreamAddCallback, 0x0a02 cuLaunchHostFunc
// ------------------------------------------------- Each that is posted has one HostTurn to expect
// (a failure is one too: with `turn` 0, and the failure as its status), or any number of them when
// its stream was being captured. One that waits for its reply has none unless it succeeded.
// rep: nothing.
struct HostFunction {
  std::uint64_t id;  // the client's number for it
  std::uint64_t stream;
};

}  // namespace farcall::api::hand
