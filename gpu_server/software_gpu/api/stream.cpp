// Streams and events.
// Source: CUDA Driver API 13.0, Stream Management and Event Management.
#include <algorithm>

#include "gpu_server/software_gpu/capture.h"
#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/graph_work.h"

namespace farcall::softgpu {
namespace {

CUresult find_event(CUevent handle, std::shared_ptr<Event>* event) {
  if (CUresult failed = require_driver()) return failed;
  *event = driver().events.find(handle);
  if (!*event) return CUDA_ERROR_INVALID_HANDLE;
  return (*event)->context().status();
}

// What is done can be known of neither an event in a capture, which that spoils, nor any other
// while a capture forbids it.
CUresult forbid_look(Event& event) {
  std::vector<GraphNode*> nodes;
  if (auto capture = event.captured(&nodes)) {
    if (!capture->is_over()) capture->invalidate();
    return CUDA_ERROR_CAPTURED_EVENT;
  }
  return event.recorded() ? forbid_unsafe() : CUDA_SUCCESS;
}

bool is_stream_attribute(CUstreamAttrID attribute) {
  switch (attribute) {
    case CU_STREAM_ATTRIBUTE_ACCESS_POLICY_WINDOW:
    case CU_STREAM_ATTRIBUTE_SYNCHRONIZATION_POLICY:
    case CU_STREAM_ATTRIBUTE_PRIORITY:
    case CU_STREAM_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
    case CU_STREAM_ATTRIBUTE_MEM_SYNC_DOMAIN: return true;
    default: return false;
  }
}

}  // namespace
}  // namespace farcall::softgpu

using namespace farcall::softgpu;

extern "C" {

CUresult cuStreamCreateWithPriority(CUstream* phStream, unsigned flags, int priority) {
  Context* context = nullptr;
  if (CUresult failed = require_view(&context)) return failed;
  if (phStream == nullptr || (flags & ~static_cast<unsigned>(CU_STREAM_NON_BLOCKING)) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const auto kind = flags != 0 ? StreamKind::kNonBlocking : StreamKind::kBlocking;
  *phStream =
      driver().streams.add<CUstream>(context->open_stream(kind, std::clamp(priority, -5, 0)));
  return CUDA_SUCCESS;
}

CUresult cuStreamCreate(CUstream* phStream, unsigned Flags) {
  return cuStreamCreateWithPriority(phStream, Flags, 0);
}

CUresult cuStreamDestroy_v2(CUstream hStream) {
  if (CUresult failed = require_driver()) return failed;
  auto stream = driver().streams.remove(hStream);
  if (!stream) return CUDA_ERROR_INVALID_HANDLE;
  abandon_capture(*stream);
  stream->context().close_stream(stream);
  return stream->context().status();
}

CUresult cuStreamDestroy(CUstream hStream) { return cuStreamDestroy_v2(hStream); }

CUresult cuStreamSynchronize(CUstream hStream) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  if (capturing(*stream)) return refuse_in_capture(*stream);
  if (CUresult no = forbid_synchronous(*stream)) return no;
  return wait_turn(*stream);
}

CUresult cuStreamQuery(CUstream hStream) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  if (capturing(*stream)) return refuse_in_capture(*stream);
  if (CUresult no = forbid_synchronous(*stream)) return no;
  if (!stream->context().idle(*stream)) return CUDA_ERROR_NOT_READY;
  return stream->context().status();
}

CUresult cuStreamWaitEvent(CUstream hStream, CUevent hEvent, unsigned Flags) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  std::shared_ptr<Event> event;
  if (CUresult failed = find_event(hEvent, &event)) return failed;
  if (Flags > CU_EVENT_WAIT_EXTERNAL) return CUDA_ERROR_INVALID_VALUE;
  if (Flags == CU_EVENT_WAIT_EXTERNAL) {
    if (!capturing(*stream)) return CUDA_ERROR_ILLEGAL_STATE;
    Work work;
    if (CUresult failed = wait_work(hEvent, &work)) return failed;
    return queue(*stream, std::move(work), CU_GRAPH_NODE_TYPE_WAIT_EVENT);
  }
  return wait_event(*stream, *event);
}

CUresult cuStreamGetPriority(CUstream hStream, int* priority) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  if (priority == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *priority = stream->priority();
  return CUDA_SUCCESS;
}

CUresult cuStreamGetFlags(CUstream hStream, unsigned* flags) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  if (flags == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *flags = stream->flags();
  return CUDA_SUCCESS;
}

CUresult cuStreamGetId(CUstream hStream, unsigned long long* streamId) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  if (streamId == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *streamId = stream->id();
  return CUDA_SUCCESS;
}

CUresult cuStreamGetDevice(CUstream hStream, CUdevice* device) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  if (device == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *device = stream->context().device().ordinal();
  return CUDA_SUCCESS;
}

CUresult cuStreamGetCtx(CUstream hStream, CUcontext* pctx) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  if (pctx == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *pctx = stream->context().handle();
  return CUDA_SUCCESS;
}

// The attributes are advice about caches and synchronisation; there is nothing they could change.
CUresult cuStreamGetAttribute(CUstream hStream, CUstreamAttrID attr, CUstreamAttrValue* value_out) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  if (value_out == nullptr || !is_stream_attribute(attr)) return CUDA_ERROR_INVALID_VALUE;
  *value_out = {};
  if (attr == CU_LAUNCH_ATTRIBUTE_PRIORITY) value_out->priority = stream->priority();
  return CUDA_SUCCESS;
}

CUresult cuStreamSetAttribute(CUstream hStream, CUstreamAttrID attr,
                              const CUstreamAttrValue* value) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  return value == nullptr || !is_stream_attribute(attr) ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuStreamCopyAttributes(CUstream dst, CUstream src) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(dst, &stream)) return failed;
  return find_stream(src, &stream);
}

// --- events --------------------------------------------------------------------------------------

CUresult cuEventCreate(CUevent* phEvent, unsigned Flags) {
  Context* context = nullptr;
  if (CUresult failed = require_context(&context)) return failed;
  constexpr unsigned kKnown =
      CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS;
  if (phEvent == nullptr || (Flags & ~kKnown) != 0) return CUDA_ERROR_INVALID_VALUE;
  if ((Flags & CU_EVENT_INTERPROCESS) != 0) {
    return (Flags & CU_EVENT_DISABLE_TIMING) != 0 ? CUDA_ERROR_NOT_SUPPORTED
                                                  : CUDA_ERROR_INVALID_VALUE;
  }
  *phEvent = driver().events.add<CUevent>(std::make_shared<Event>(*context, Flags));
  return CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent hEvent) {
  if (CUresult failed = require_driver()) return failed;
  auto event = driver().events.remove(hEvent);
  return event ? event->context().status() : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuEventDestroy(CUevent hEvent) { return cuEventDestroy_v2(hEvent); }

CUresult cuEventRecordWithFlags(CUevent hEvent, CUstream hStream, unsigned flags) {
  std::shared_ptr<Event> event;
  if (CUresult failed = find_event(hEvent, &event)) return failed;
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(hStream, &stream)) return failed;
  if (flags > CU_EVENT_RECORD_EXTERNAL) return CUDA_ERROR_INVALID_VALUE;
  if (&event->context().home() != &stream->context().home()) return CUDA_ERROR_INVALID_HANDLE;
  if (flags == CU_EVENT_RECORD_EXTERNAL) {
    if (!capturing(*stream)) return CUDA_ERROR_ILLEGAL_STATE;
    Work work;
    if (CUresult failed = record_work(hEvent, &work)) return failed;
    return queue(*stream, std::move(work), CU_GRAPH_NODE_TYPE_EVENT_RECORD);
  }
  return record_event(*stream, *event);
}

CUresult cuEventRecord(CUevent hEvent, CUstream hStream) {
  return cuEventRecordWithFlags(hEvent, hStream, 0);
}

CUresult cuEventQuery(CUevent hEvent) {
  std::shared_ptr<Event> event;
  if (CUresult failed = find_event(hEvent, &event)) return failed;
  if (CUresult no = forbid_look(*event)) return no;
  if (!event->done()) return CUDA_ERROR_NOT_READY;
  return event->context().status();
}

CUresult cuEventSynchronize(CUevent hEvent) {
  std::shared_ptr<Event> event;
  if (CUresult failed = find_event(hEvent, &event)) return failed;
  if (CUresult no = forbid_look(*event)) return no;
  for (const CompletionPtr& point : event->points()) point->wait();
  return event->context().status();
}

CUresult cuEventElapsedTime_v2(float* pMilliseconds, CUevent hStart, CUevent hEnd) {
  std::shared_ptr<Event> start, end;
  if (CUresult failed = find_event(hStart, &start)) return failed;
  if (CUresult failed = find_event(hEnd, &end)) return failed;
  if (pMilliseconds == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (!start->timed() || !end->timed() || !start->recorded() || !end->recorded()) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  if (!start->done() || !end->done()) return CUDA_ERROR_NOT_READY;
  *pMilliseconds = static_cast<float>(static_cast<double>(end->when_ns() - start->when_ns()) / 1e6);
  return CUDA_SUCCESS;
}

CUresult cuEventElapsedTime(float* pMilliseconds, CUevent hStart, CUevent hEnd) {
  return cuEventElapsedTime_v2(pMilliseconds, hStart, hEnd);
}
}
