// Functions that are made of others or change nothing: older entry points, settings.
#include "transport/cuda/local_functions.inc"

// Older names, same meaning.
#define OLDER(F, PARAMETERS, ARGUMENTS) \
  extern "C" CUresult F PARAMETERS { return F##_v2 ARGUMENTS; }
#define OLDER_PTSZ(F, PARAMETERS, ARGUMENTS) \
  OLDER(F, PARAMETERS, ARGUMENTS)            \
  extern "C" CUresult F##_ptsz PARAMETERS { return F##_v2_ptsz ARGUMENTS; }
OLDER(cuMemAllocHost, (void** at, unsigned int bytes), (at, bytes))
OLDER_PTSZ(cuStreamWaitValue32,
           (CUstream stream, CUdeviceptr at, cuuint32_t value, unsigned int flags),
           (stream, at, value, flags))
OLDER_PTSZ(cuStreamWaitValue64,
           (CUstream stream, CUdeviceptr at, cuuint64_t value, unsigned int flags),
           (stream, at, value, flags))
OLDER_PTSZ(cuStreamWriteValue32,
           (CUstream stream, CUdeviceptr at, cuuint32_t value, unsigned int flags),
           (stream, at, value, flags))
OLDER_PTSZ(cuStreamWriteValue64,
           (CUstream stream, CUdeviceptr at, cuuint64_t value, unsigned int flags),
           (stream, at, value, flags))
OLDER_PTSZ(cuStreamBatchMemOp,
           (CUstream stream, unsigned int count, CUstreamBatchMemOpParams* operations,
            unsigned int flags),
           (stream, count, operations, flags))
#undef OLDER
#undef OLDER_PTSZ
