// Events: making them, what they know before, while and after, and the time between two.
#include "tests/parity/setup.h"

using namespace parity;

BODY(event_create) {
  Primary primary;
  CUevent event = nullptr;
  CALL(cuEventCreate, nullptr, 0);
  CALL(cuEventCreate, &event, 0x8);
  CALL(cuEventCreate, &event, ~0U);
  // "CU_EVENT_INTERPROCESS must be specified along with CU_EVENT_DISABLE_TIMING."
  EXPECT(CUDA_ERROR_INVALID_VALUE, "cuda.h, cuEventCreate", cuEventCreate, &event,
         CU_EVENT_INTERPROCESS);
  VALUE("none made", event == nullptr);
  CALL(cuEventCreate, &event, CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING);
  CALL(cuEventDestroy_v2, event);
  CALL(cuEventDestroy_v2, event);
  CALL(cuEventDestroy_v2, nullptr);
  CALL(cuEventQuery, nullptr);
  CALL(cuEventSynchronize, nullptr);
  CALL(cuEventRecord, nullptr, nullptr);
}

BODY(event_states) {
  Primary primary;
  const CUstream stream = new_stream();
  const CUevent event = new_event();
  // "Before the first call to cuEventRecord(), an event represents an empty set of work".
  EXPECT(CUDA_SUCCESS, "cuda.h, cuEventRecord", cuEventQuery, event);
  CALL(cuEventSynchronize, event);
  Held held(stream);
  CALL(cuEventRecord, event, stream);
  EXPECT(CUDA_ERROR_NOT_READY, "cuda.h, cuEventQuery", cuEventQuery, event);
  held.release();
  CALL(cuEventSynchronize, event);
  CALL(cuEventQuery, event);
  CALL(cuEventRecordWithFlags, event, stream, 0);
  CALL(cuEventRecordWithFlags, event, stream, CU_EVENT_RECORD_EXTERNAL);
  CALL(cuEventRecordWithFlags, event, stream, 0x80);
  Held again(stream);
  CALL(cuEventRecord, event, stream);
  // "cuEventDestroy may be called while the event is not complete; it does not block."
  EXPECT(CUDA_SUCCESS, "cuda.h, cuEventDestroy", cuEventDestroy_v2, event);
  again.release();
  CALL(cuStreamSynchronize, stream);
  CALL(cuEventQuery, event);
}

BODY(event_elapsed) {
  Primary primary;
  const CUstream stream = new_stream();
  const CUevent begin = new_event();
  const CUevent end = new_event();
  const CUevent untimed = new_event(CU_EVENT_DISABLE_TIMING);
  const char* const says = "cuda.h, cuEventElapsedTime";
  float ms = -1;
  // "If cuEventRecord() has not been called on either event then CUDA_ERROR_INVALID_HANDLE".
  EXPECT(CUDA_ERROR_INVALID_HANDLE, says, cuEventElapsedTime, &ms, begin, end);
  CALL(cuEventRecord, begin, stream);
  EXPECT(CUDA_ERROR_INVALID_HANDLE, says, cuEventElapsedTime, &ms, begin, end);
  {
    Held held(stream);
    CALL(cuEventRecord, end, stream);
    // "If … one or both of them has not yet been completed … CUDA_ERROR_NOT_READY is returned."
    EXPECT(CUDA_ERROR_NOT_READY, says, cuEventElapsedTime, &ms, begin, end);
    held.release();
  }
  CALL(cuEventSynchronize, end);
  CALL(cuEventElapsedTime, &ms, begin, end);
  VALUE("not negative", ms >= 0);
  CALL(cuEventElapsedTime_v2, &ms, end, begin);
  VALUE("not positive", ms <= 0);
  CALL(cuEventElapsedTime, &ms, begin, begin);
  VALUE("zero", ms == 0);
  CALL(cuEventRecord, untimed, stream);
  CALL(cuEventSynchronize, untimed);
  EXPECT(CUDA_ERROR_INVALID_HANDLE, says, cuEventElapsedTime, &ms, begin, untimed);
  EXPECT(CUDA_ERROR_INVALID_HANDLE, says, cuEventElapsedTime, &ms, untimed, end);
  CALL(cuEventElapsedTime, nullptr, begin, end);
  CALL(cuEventElapsedTime, &ms, nullptr, end);
  CALL(cuEventElapsedTime, &ms, begin, nullptr);
}
