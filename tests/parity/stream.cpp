// Streams: making and asking them, callbacks, waits, stream memory operations, stale ones.
#include <atomic>
#include <string>

#include "tests/parity/setup.h"

using namespace parity;

BODY(stream_create) {
  Primary primary;
  CUstream stream = nullptr;
  int least = 0;
  int greatest = 0;
  unsigned flags = 77;
  int priority = 77;
  need(CU(cuCtxGetStreamPriorityRange)(&least, &greatest), "cuCtxGetStreamPriorityRange");
  CALL(cuStreamCreate, nullptr, 0);
  CALL(cuStreamCreate, &stream, 2);
  CALL(cuStreamCreate, &stream, ~0U);
  VALUE("none made", stream == nullptr);
  CALL(cuStreamCreate, &stream, CU_STREAM_DEFAULT);
  CALL(cuStreamGetFlags, stream, &flags);
  VALUE("flags", flags);
  CALL(cuStreamGetPriority, stream, &priority);
  VALUE("priority", priority);
  CALL(cuStreamCreateWithPriority, &stream, CU_STREAM_NON_BLOCKING, greatest);
  CALL(cuStreamGetFlags, stream, &flags);
  VALUE("flags", flags);
  CALL(cuStreamGetPriority, stream, &priority);
  VALUE("is the greatest", priority == greatest);
  // "If the specified priority is outside the numerical range … it will automatically be clamped".
  EXPECT(CUDA_SUCCESS, "cuda.h, cuStreamCreateWithPriority", cuStreamCreateWithPriority, &stream, 0,
         greatest - 100);
  CALL(cuStreamGetPriority, stream, &priority);
  VALUE("clamped to the greatest", priority == greatest);
  CALL(cuStreamCreateWithPriority, &stream, 0, 100);
  CALL(cuStreamGetPriority, stream, &priority);
  VALUE("clamped to the least", priority == least);
  CALL(cuStreamCreateWithPriority, nullptr, 0, 0);
  CALL(cuStreamCreateWithPriority, &stream, 4, 0);
  CALL(cuStreamGetFlags, stream, nullptr);
  CALL(cuStreamGetPriority, stream, nullptr);
  CALL(cuStreamGetId, stream, nullptr);
  CALL(cuStreamGetDevice, stream, nullptr);
  CALL(cuStreamGetCtx, stream, nullptr);
}

BODY(stream_defaults) {
  Primary primary;
  for (CUstream stream : {CUstream(nullptr), CU_STREAM_LEGACY, CU_STREAM_PER_THREAD}) {
    about("stream " + std::to_string(reinterpret_cast<size_t>(stream)));
    unsigned flags = 77;
    int priority = 77;
    CUdevice device = 77;
    CUcontext context = nullptr;
    unsigned long long id = 0;
    CALL(cuStreamGetFlags, stream, &flags);
    VALUE("flags", flags);
    CALL(cuStreamGetPriority, stream, &priority);
    VALUE("priority", priority);
    CALL(cuStreamGetDevice, stream, &device);
    VALUE("device", device);
    CALL(cuStreamGetCtx, stream, &context);
    VALUE("context", context == primary.context);
    CALL(cuStreamGetId, stream, &id);
    CALL(cuStreamQuery, stream);
    CALL(cuStreamSynchronize, stream);
    CALL(cuStreamDestroy_v2, stream);
  }
}

BODY(stream_waits) {
  Primary primary;
  const CUstream stream = new_stream();
  const CUstream other = new_stream();
  const CUevent event = new_event();
  CALL(cuStreamQuery, stream);
  CALL(cuStreamWaitEvent, stream, event, 0);
  CALL(cuStreamWaitEvent, stream, event, 2);
  CALL(cuStreamWaitEvent, stream, nullptr, 0);
  {
    Held held(stream);
    CALL(cuStreamQuery, stream);
    CALL(cuStreamQuery, other);
    CALL(cuEventRecord, event, stream);
    CALL(cuStreamWaitEvent, other, event, 0);
    CALL(cuStreamQuery, other);
    CALL(cuEventQuery, event);
    held.release();
    CALL(cuStreamSynchronize, other);
    CALL(cuEventQuery, event);
    CALL(cuStreamQuery, stream);
  }
  Held held(stream);
  // "all work … will be completed, and the resources … released when it has": it does not wait.
  CALL(cuStreamDestroy_v2, stream);
  held.release();
  CALL(cuCtxSynchronize);
}

BODY(stream_legacy_order) {
  Primary primary;
  const CUstream blocking = new_stream(CU_STREAM_DEFAULT);
  const CUstream free_one = new_stream(CU_STREAM_NON_BLOCKING);
  const CUdeviceptr p = allocate(64);
  {
    Held held(blocking);
    CALL(cuMemsetD32Async, p, 1, 4, nullptr);
    VALUE("the legacy stream waits", name_of(CU(cuStreamQuery)(nullptr)));
    VALUE("a non-blocking one does not", name_of(CU(cuStreamQuery)(free_one)));
    CALL(cuMemsetD32Async, p + 16, 2, 4, free_one);
    CALL(cuStreamSynchronize, free_one);
    held.release();
    CALL(cuStreamSynchronize, nullptr);
  }
  Held held(nullptr);
  CALL(cuMemsetD32Async, p + 32, 3, 4, blocking);
  VALUE("a blocking stream waits for it", name_of(CU(cuStreamQuery)(blocking)));
  VALUE("a non-blocking one does not", name_of(CU(cuStreamQuery)(free_one)));
  held.release();
  CALL(cuCtxSynchronize);
  VALUE("memory", text(read_back(p, 12)));
}

namespace {
std::string g_order;

void CUDA_CB note(CUstream, CUresult status, void* what) {
  g_order += std::string(static_cast<const char*>(what)) + " " + name_of(status) + ", ";
}

void CUDA_CB call_inside(void*) {
  CUdeviceptr p = 0;
  g_order += "cuMemAlloc " + name_of(CU(cuMemAlloc_v2)(&p, 16)) + ", ";
  g_order += "cuStreamSynchronize " + name_of(CU(cuStreamSynchronize)(nullptr)) + ", ";
  g_order += "cuMemFree " + name_of(CU(cuMemFree_v2)(16)) + ", ";
}
}  // namespace

BODY(stream_callbacks) {
  Primary primary;
  const CUstream stream = new_stream();
  char one[] = "one";
  char two[] = "two";
  CALL(cuStreamAddCallback, stream, note, one, 0);
  CALL(cuStreamAddCallback, stream, note, two, 0);
  CALL(cuStreamSynchronize, stream);
  VALUE("order", g_order);
  g_order.clear();
  // "Reserved for future use, must be 0".
  EXPECT(CUDA_ERROR_INVALID_VALUE, "cuda.h, cuStreamAddCallback", cuStreamAddCallback, stream, note,
         one, 1);
  CALL(cuStreamAddCallback, stream, nullptr, one, 0);
  CALL(cuLaunchHostFunc, stream, nullptr, one);
  // "it is undefined … the function may return CUDA_ERROR_NOT_PERMITTED".
  CALL(cuLaunchHostFunc, stream, call_inside, nullptr);
  CALL(cuStreamSynchronize, stream);
  VALUE("inside", g_order);
}

BODY(stream_memory_operations) {
  Primary primary;
  const CUstream stream = new_stream();
  const CUstream other = new_stream();
  const CUdeviceptr p = allocate(64);
  need(CU(cuMemsetD32_v2)(p, 0, 16), "cuMemsetD32");
  CALL(cuStreamWriteValue32_v2, stream, p, 5, 0);
  CALL(cuStreamWriteValue64_v2, stream, p + 8, 6, 0);
  CALL(cuStreamWaitValue32_v2, stream, p, 5, CU_STREAM_WAIT_VALUE_EQ);
  CALL(cuStreamWaitValue32_v2, stream, p + 16, 1, CU_STREAM_WAIT_VALUE_GEQ);
  CALL(cuStreamWriteValue32_v2, stream, p + 20, 9, 0);
  CALL(cuStreamQuery, stream);
  CALL(cuStreamWriteValue32_v2, other, p + 16, 1, 0);
  CALL(cuStreamSynchronize, stream);
  VALUE("memory", text(read_back(p, 6)));
  CALL(cuStreamWriteValue32_v2, stream, p + 1, 5, 0);
  CALL(cuStreamWriteValue64_v2, stream, p + 4, 5, 0);
  CALL(cuStreamWriteValue32_v2, stream, 0, 5, 0);
  CALL(cuStreamWriteValue32_v2, stream, p, 5, 0xff00);
  CALL(cuStreamWaitValue32_v2, stream, p, 5, 0xff00);
  CALL(cuStreamWaitValue32_v2, stream, 0, 5, 0);
  CALL(cuStreamBatchMemOp_v2, stream, 0, nullptr, 0);
  CALL(cuStreamBatchMemOp_v2, stream, 1, nullptr, 0);
  CUstreamBatchMemOpParams operations[2]{};
  operations[0].operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
  operations[0].writeValue.address = p;
  operations[0].writeValue.value = 11;
  operations[1].operation = number<CUstreamBatchMemOpType>(99);
  CALL(cuStreamBatchMemOp_v2, stream, 1, operations, 0);
  CALL(cuStreamBatchMemOp_v2, stream, 2, operations, 0);
  CALL(cuStreamBatchMemOp_v2, stream, 1, operations, 1);
  CALL(cuStreamBatchMemOp_v2, stream, 300, operations, 0);
  CALL(cuStreamSynchronize, stream);
  VALUE("memory", text(read_back(p, 6)));
}

BODY(stream_attributes) {
  Primary primary;
  const CUstream stream = new_stream();
  const CUstream other = new_stream();
  CUstreamAttrValue is{};
  CALL(cuStreamGetAttribute, stream, CU_STREAM_ATTRIBUTE_SYNCHRONIZATION_POLICY, &is);
  VALUE("policy", is.syncPolicy);
  is.syncPolicy = CU_SYNC_POLICY_SPIN;
  CALL(cuStreamSetAttribute, stream, CU_STREAM_ATTRIBUTE_SYNCHRONIZATION_POLICY, &is);
  CALL(cuStreamCopyAttributes, other, stream);
  CALL(cuStreamGetAttribute, other, CU_STREAM_ATTRIBUTE_SYNCHRONIZATION_POLICY, &is);
  VALUE("policy", is.syncPolicy);
  CALL(cuStreamGetAttribute, stream, number<CUstreamAttrID>(99), &is);
  CALL(cuStreamSetAttribute, stream, number<CUstreamAttrID>(99), &is);
  CALL(cuStreamGetAttribute, stream, CU_STREAM_ATTRIBUTE_SYNCHRONIZATION_POLICY, nullptr);
  CALL(cuStreamSetAttribute, stream, CU_STREAM_ATTRIBUTE_SYNCHRONIZATION_POLICY, nullptr);
  CALL(cuStreamGetAttribute, stream, CU_STREAM_ATTRIBUTE_ACCESS_POLICY_WINDOW, &is);
  CALL(cuStreamGetAttribute, stream, CU_STREAM_ATTRIBUTE_PRIORITY, &is);
}

// A driver may also crash here; what it does is for the record.
BODY(stream_destroyed) {
  Primary primary;
  Kernels kernels;
  const CUfunction f = kernels.get("empty");
  const CUdeviceptr p = allocate(64);
  const CUstream stream = new_stream();
  const CUevent event = new_event();
  unsigned flags = 0;
  CALL(cuStreamDestroy_v2, stream);
  CALL(cuStreamQuery, stream);
  CALL(cuStreamSynchronize, stream);
  CALL(cuStreamGetFlags, stream, &flags);
  CALL(cuLaunchKernel, f, 1, 1, 1, 1, 1, 1, 0, stream, nullptr, nullptr);
  CALL(cuMemsetD8Async, p, 1, 16, stream);
  CALL(cuMemcpyDtoDAsync_v2, p, p + 32, 16, stream);
  CALL(cuEventRecord, event, stream);
  CALL(cuStreamWaitEvent, stream, event, 0);
  CALL(cuStreamBeginCapture_v2, stream, CU_STREAM_CAPTURE_MODE_RELAXED);
  CALL(cuStreamDestroy_v2, stream);
  CALL(cuCtxSynchronize);
}

BODY(handles_nobody_gave) {
  Primary primary;
  const auto stream = bogus<CUstream>();
  const auto event = bogus<CUevent>();
  CALL(cuStreamQuery, stream);
  CALL(cuStreamSynchronize, stream);
  CALL(cuStreamDestroy_v2, stream);
  CALL(cuEventQuery, event);
  CALL(cuEventSynchronize, event);
  CALL(cuEventDestroy_v2, event);
  CALL(cuEventRecord, event, nullptr);
  CALL(cuCtxSetCurrent, bogus<CUcontext>());
  CALL(cuCtxDestroy_v2, bogus<CUcontext>());
  CALL(cuModuleUnload, bogus<CUmodule>());
  CALL(cuLaunchKernel, bogus<CUfunction>(), 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr);
  CALL(cuArrayDestroy, bogus<CUarray>());
  CALL(cuMemPoolDestroy, bogus<CUmemoryPool>());
  CALL(cuGraphDestroy, bogus<CUgraph>());
  CALL(cuGraphExecDestroy, bogus<CUgraphExec>());
  CALL(cuLibraryUnload, bogus<CUlibrary>());
  CALL(cuTexObjectDestroy, 12345);
  CALL(cuSurfObjectDestroy, 12345);
}

// A thread's own default stream: legacy ones do not wait for it unless told to.
BODY(stream_per_thread) {
  Primary primary;
  const CUdeviceptr p = allocate(64);
  CALL(cuMemsetD32Async_ptsz, p, 4, 4, nullptr);
  CALL(cuStreamSynchronize_ptsz, nullptr);
  VALUE("memory", text(read_back(p, 4)));
  CALL(cuMemsetD8_v2_ptds, p, 1, 16);
  CALL(cuStreamQuery_ptsz, nullptr);
  CALL(cuStreamSynchronize_ptsz, CU_STREAM_LEGACY);
  CALL(cuStreamSynchronize, CU_STREAM_PER_THREAD);
  CALL(cuMemcpyHtoD_v2_ptds, p, nullptr, 4);
  CALL(cuMemcpyDtoH_v2_ptds, nullptr, p, 4);
  Held held(CU_STREAM_PER_THREAD);
  VALUE("its own waits", name_of(CU(cuStreamQuery_ptsz)(nullptr)));
  held.release();
  CALL(cuStreamSynchronize_ptsz, nullptr);
}
