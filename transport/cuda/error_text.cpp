#include "transport/cuda/error_text.h"

namespace farcall::cuda {
namespace {

struct Row {
  CUresult result;
  const char* name;
  const char* text;
};

#define FARCALL_ERROR(NAME, TEXT) {NAME, #NAME, TEXT},
// The short texts are what programs print and compare: they are the ones CUDA programs know.
// clang-format off
constexpr Row kRows[] = {
    FARCALL_ERROR(CUDA_SUCCESS, "no error")
    FARCALL_ERROR(CUDA_ERROR_INVALID_VALUE, "invalid argument")
    FARCALL_ERROR(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")
    FARCALL_ERROR(CUDA_ERROR_NOT_INITIALIZED, "initialization error")
    FARCALL_ERROR(CUDA_ERROR_DEINITIALIZED, "driver shutting down")
    FARCALL_ERROR(CUDA_ERROR_PROFILER_DISABLED,
                  "profiler disabled while using external profiling tool")
    FARCALL_ERROR(CUDA_ERROR_PROFILER_NOT_INITIALIZED,
                  "profiler not initialized: call cudaProfilerInitialize()")
    FARCALL_ERROR(CUDA_ERROR_PROFILER_ALREADY_STARTED, "profiler already started")
    FARCALL_ERROR(CUDA_ERROR_PROFILER_ALREADY_STOPPED, "profiler already stopped")
    FARCALL_ERROR(CUDA_ERROR_STUB_LIBRARY, "CUDA driver is a stub library")
    FARCALL_ERROR(CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER, "the call needs a newer driver")
    FARCALL_ERROR(CUDA_ERROR_DEVICE_UNAVAILABLE,
                  "CUDA-capable device(s) is/are busy or unavailable")
    FARCALL_ERROR(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected")
    FARCALL_ERROR(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal")
    FARCALL_ERROR(CUDA_ERROR_DEVICE_NOT_LICENSED, "device doesn't have valid Grid license")
    FARCALL_ERROR(CUDA_ERROR_INVALID_IMAGE, "device kernel image is invalid")
    FARCALL_ERROR(CUDA_ERROR_INVALID_CONTEXT, "invalid device context")
    FARCALL_ERROR(CUDA_ERROR_CONTEXT_ALREADY_CURRENT, "context already current")
    FARCALL_ERROR(CUDA_ERROR_MAP_FAILED, "mapping of buffer object failed")
    FARCALL_ERROR(CUDA_ERROR_UNMAP_FAILED, "unmapping of buffer object failed")
    FARCALL_ERROR(CUDA_ERROR_ARRAY_IS_MAPPED, "array is mapped")
    FARCALL_ERROR(CUDA_ERROR_ALREADY_MAPPED, "resource already mapped")
    FARCALL_ERROR(CUDA_ERROR_NO_BINARY_FOR_GPU,
                  "no kernel image is available for execution on the device")
    FARCALL_ERROR(CUDA_ERROR_ALREADY_ACQUIRED, "resource already acquired")
    FARCALL_ERROR(CUDA_ERROR_NOT_MAPPED, "resource not mapped")
    FARCALL_ERROR(CUDA_ERROR_NOT_MAPPED_AS_ARRAY, "resource not mapped as array")
    FARCALL_ERROR(CUDA_ERROR_NOT_MAPPED_AS_POINTER, "resource not mapped as pointer")
    FARCALL_ERROR(CUDA_ERROR_ECC_UNCORRECTABLE, "uncorrectable ECC error encountered")
    FARCALL_ERROR(CUDA_ERROR_UNSUPPORTED_LIMIT, "limit is not supported on this architecture")
    FARCALL_ERROR(CUDA_ERROR_CONTEXT_ALREADY_IN_USE,
                  "exclusive-thread device already in use by a different thread")
    FARCALL_ERROR(CUDA_ERROR_PEER_ACCESS_UNSUPPORTED,
                  "peer access is not supported between these two devices")
    FARCALL_ERROR(CUDA_ERROR_INVALID_PTX, "a PTX JIT compilation failed")
    FARCALL_ERROR(CUDA_ERROR_INVALID_GRAPHICS_CONTEXT, "invalid OpenGL or DirectX context")
    FARCALL_ERROR(CUDA_ERROR_NVLINK_UNCORRECTABLE,
                  "uncorrectable NVLink error detected during the execution")
    FARCALL_ERROR(CUDA_ERROR_JIT_COMPILER_NOT_FOUND, "PTX JIT compiler library not found")
    FARCALL_ERROR(CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
                  "the provided PTX was compiled with an unsupported toolchain.")
    FARCALL_ERROR(CUDA_ERROR_JIT_COMPILATION_DISABLED, "PTX JIT compilation was disabled")
    FARCALL_ERROR(CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY,
                  "the provided execution affinity is not supported")
    FARCALL_ERROR(CUDA_ERROR_UNSUPPORTED_DEVSIDE_SYNC,
                  "the provided PTX contains unsupported call to cudaDeviceSynchronize")
    FARCALL_ERROR(CUDA_ERROR_CONTAINED,
                  "Invalid access of peer GPU memory over nvlink or a hardware error")
    FARCALL_ERROR(CUDA_ERROR_INVALID_SOURCE, "device kernel image is invalid")
    FARCALL_ERROR(CUDA_ERROR_FILE_NOT_FOUND, "file not found")
    FARCALL_ERROR(CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND, "shared object symbol not found")
    FARCALL_ERROR(CUDA_ERROR_SHARED_OBJECT_INIT_FAILED, "shared object initialization failed")
    FARCALL_ERROR(CUDA_ERROR_OPERATING_SYSTEM,
                  "OS call failed or operation not supported on this OS")
    FARCALL_ERROR(CUDA_ERROR_INVALID_HANDLE, "invalid resource handle")
    FARCALL_ERROR(CUDA_ERROR_ILLEGAL_STATE,
                  "the operation cannot be performed in the present state")
    FARCALL_ERROR(CUDA_ERROR_LOSSY_QUERY, "attempted introspection would be semantically lossy")
    FARCALL_ERROR(CUDA_ERROR_NOT_FOUND, "named symbol not found")
    FARCALL_ERROR(CUDA_ERROR_NOT_READY, "device not ready")
    FARCALL_ERROR(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered")
    FARCALL_ERROR(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "too many resources requested for launch")
    FARCALL_ERROR(CUDA_ERROR_LAUNCH_TIMEOUT, "the launch timed out and was terminated")
    FARCALL_ERROR(CUDA_ERROR_LAUNCH_INCOMPATIBLE_TEXTURING,
                  "launch uses incompatible texturing mode")
    FARCALL_ERROR(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED, "peer access is already enabled")
    FARCALL_ERROR(CUDA_ERROR_PEER_ACCESS_NOT_ENABLED, "peer access has not been enabled")
    FARCALL_ERROR(CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE,
                  "cannot set while device is active in this process")
    FARCALL_ERROR(CUDA_ERROR_CONTEXT_IS_DESTROYED, "context is destroyed")
    FARCALL_ERROR(CUDA_ERROR_ASSERT, "device-side assert triggered")
    FARCALL_ERROR(CUDA_ERROR_TOO_MANY_PEERS, "peer mapping resources exhausted")
    FARCALL_ERROR(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED,
                  "part or all of the requested memory range is already mapped")
    FARCALL_ERROR(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED,
                  "pointer does not correspond to a registered memory region")
    FARCALL_ERROR(CUDA_ERROR_HARDWARE_STACK_ERROR, "hardware stack error")
    FARCALL_ERROR(CUDA_ERROR_ILLEGAL_INSTRUCTION, "an illegal instruction was encountered")
    FARCALL_ERROR(CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned address")
    FARCALL_ERROR(CUDA_ERROR_INVALID_ADDRESS_SPACE,
                  "operation not supported on global/shared address space")
    FARCALL_ERROR(CUDA_ERROR_INVALID_PC, "invalid program counter")
    FARCALL_ERROR(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure")
    FARCALL_ERROR(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, "too many blocks in cooperative launch")
    FARCALL_ERROR(CUDA_ERROR_TENSOR_MEMORY_LEAK, "tensor memory not completely freed")
    FARCALL_ERROR(CUDA_ERROR_NOT_PERMITTED, "operation not permitted")
    FARCALL_ERROR(CUDA_ERROR_NOT_SUPPORTED, "operation not supported")
    FARCALL_ERROR(CUDA_ERROR_SYSTEM_NOT_READY, "system not yet initialized")
    FARCALL_ERROR(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH,
                  "system has unsupported display driver / cuda driver combination")
    FARCALL_ERROR(CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE,
                  "forward compatibility was attempted on non supported HW")
    FARCALL_ERROR(CUDA_ERROR_MPS_CONNECTION_FAILED,
                  "MPS client failed to connect to the MPS control daemon or the MPS server")
    FARCALL_ERROR(CUDA_ERROR_MPS_RPC_FAILURE,
                  "the remote procedural call between the MPS server and the MPS client failed")
    FARCALL_ERROR(CUDA_ERROR_MPS_SERVER_NOT_READY,
                  "MPS server is not ready to accept new MPS client requests")
    FARCALL_ERROR(CUDA_ERROR_MPS_MAX_CLIENTS_REACHED,
                  "the hardware resources required to create MPS client have been exhausted")
    FARCALL_ERROR(CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED,
                  "the hardware resources required to support device connections have been "
                  "exhausted")
    FARCALL_ERROR(CUDA_ERROR_MPS_CLIENT_TERMINATED,
                  "the MPS client has been terminated by the server")
    FARCALL_ERROR(CUDA_ERROR_CDP_NOT_SUPPORTED,
                  "is using CUDA Dynamic Parallelism, but the current configuration, like MPS, "
                  "does not support it")
    FARCALL_ERROR(CUDA_ERROR_CDP_VERSION_MISMATCH,
                  "unsupported interaction between different versions of CUDA Dynamic "
                  "Parallelism")
    FARCALL_ERROR(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
                  "operation not permitted when stream is capturing")
    FARCALL_ERROR(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
                  "operation failed due to a previous error during capture")
    FARCALL_ERROR(CUDA_ERROR_STREAM_CAPTURE_MERGE,
                  "operation would result in a merge of separate capture sequences")
    FARCALL_ERROR(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED,
                  "capture was not ended in the same stream as it began")
    FARCALL_ERROR(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "capturing stream has unjoined work")
    FARCALL_ERROR(CUDA_ERROR_STREAM_CAPTURE_ISOLATION,
                  "dependency created on uncaptured work in another stream")
    FARCALL_ERROR(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
                  "operation would make the legacy stream depend on a capturing blocking stream")
    FARCALL_ERROR(CUDA_ERROR_CAPTURED_EVENT,
                  "operation not permitted on an event last recorded in a capturing stream")
    FARCALL_ERROR(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD,
                  "attempt to terminate a thread-local capture sequence from another thread")
    FARCALL_ERROR(CUDA_ERROR_TIMEOUT, "wait operation timed out")
    FARCALL_ERROR(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE,
                  "the graph update was not performed because it included changes which "
                  "violated constraints specific to instantiated graph update")
    FARCALL_ERROR(CUDA_ERROR_EXTERNAL_DEVICE,
                  "an async error has occurred in external entity outside of CUDA")
    FARCALL_ERROR(CUDA_ERROR_INVALID_CLUSTER_SIZE,
                  "a kernel launch error has occurred due to cluster misconfiguration")
    FARCALL_ERROR(CUDA_ERROR_FUNCTION_NOT_LOADED,
                  "the function handle is not loaded when calling an API that requires a loaded "
                  "function")
    FARCALL_ERROR(CUDA_ERROR_INVALID_RESOURCE_TYPE,
                  "one or more resources passed in are not valid resource types for the "
                  "operation")
    FARCALL_ERROR(CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION,
                  "one or more resources are insufficient or non-applicable for the operation")
    FARCALL_ERROR(CUDA_ERROR_KEY_ROTATION, "an error happened during the key rotation sequence")
    FARCALL_ERROR(CUDA_ERROR_UNKNOWN, "unknown error")
};
// clang-format on
#undef FARCALL_ERROR

const Row* find(CUresult result) {
  for (const Row& row : kRows) {
    if (row.result == result) return &row;
  }
  return nullptr;
}

}  // namespace

const char* error_name(CUresult result) {
  const Row* row = find(result);
  return row == nullptr ? nullptr : row->name;
}

const char* error_text(CUresult result) {
  const Row* row = find(result);
  return row == nullptr ? nullptr : row->text;
}

}  // namespace farcall::cuda
