// Stream memory operations: a stream writes a word when its turn comes, or waits until one has a
// value.
// Source: CUDA Driver API 13.0, Stream Memory Operations.
#include <chrono>
#include <thread>
#include <type_traits>
#include <vector>

#include "gpu_server/software_gpu/capture.h"
#include "gpu_server/software_gpu/checks.h"
#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/graph_work.h"
#include "gpu_server/software_gpu/memory_calls.h"

namespace farcall::softgpu {
namespace {

constexpr unsigned kBatchMax = 256;  // operations, as CUDA documents

struct WordStep {
  bool waits = false;
  bool wide = false;  // 64 bits
  CUdeviceptr address = 0;
  std::uint64_t value = 0;
  unsigned condition = CU_STREAM_WAIT_VALUE_GEQ;
  std::size_t bytes() const { return wide ? 8 : 4; }
};

template <class Word>
bool holds(const WordStep& step) {
  const auto now = __atomic_load_n(reinterpret_cast<const Word*>(step.address), __ATOMIC_ACQUIRE);
  const auto value = static_cast<Word>(step.value);
  using Signed = std::make_signed_t<Word>;
  switch (step.condition) {
    case CU_STREAM_WAIT_VALUE_GEQ: return static_cast<Signed>(now - value) >= 0;
    case CU_STREAM_WAIT_VALUE_EQ: return now == value;
    case CU_STREAM_WAIT_VALUE_AND: return (now & value) != 0;
    default: return static_cast<Word>(~(now | value)) != 0;
  }
}

template <class Word>
void put(const WordStep& step) {
  __atomic_store_n(reinterpret_cast<Word*>(step.address), static_cast<Word>(step.value),
                   __ATOMIC_RELEASE);
  note_written(step.address, sizeof(Word));
}

// Does one step if it can be done now. What was freed meanwhile is waited for no longer.
bool try_step(const WordStep& step, Memory& memory) {
  const Memory::Pin pin(memory);
  if (!is_device_range(step.address, step.bytes())) return true;
  if (step.waits) return step.wide ? holds<std::uint64_t>(step) : holds<std::uint32_t>(step);
  if (step.wide) {
    put<std::uint64_t>(step);
  } else {
    put<std::uint32_t>(step);
  }
  return true;
}

// The writer may be a kernel, another stream or the host: nobody tells us, so we look again.
void carry_out(const WordStep& step, Context& context) {
  constexpr std::chrono::microseconds kMoment(20);
  while (!try_step(step, context.device().memory()) && context.status() == CUDA_SUCCESS) {
    std::this_thread::sleep_for(kMoment);
  }
}

CUresult check(const WordStep& step) {
  if (step.address % step.bytes() != 0 || !is_device_range(step.address, step.bytes())) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return step.condition > CU_STREAM_WAIT_VALUE_NOR ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult submit(CUstream handle, std::vector<WordStep> steps) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(handle, &stream)) return failed;
  for (const WordStep& step : steps) {
    if (CUresult failed = check(step)) return failed;
  }
  Context& context = stream->context();
  auto run = [&context, steps = std::move(steps)] {
    for (const WordStep& step : steps) carry_out(step, context);
  };
  return queue(*stream, {std::move(run)}, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP);
}

// CU_STREAM_WAIT_VALUE_FLUSH and the flush of remote writes are for memory that others map.
CUresult wait_step(bool wide, CUdeviceptr address, std::uint64_t value, unsigned flags,
                   WordStep* step) {
  if ((flags & CU_STREAM_WAIT_VALUE_FLUSH) != 0) return CUDA_ERROR_NOT_SUPPORTED;
  *step = {true, wide, address, value, flags};
  return CUDA_SUCCESS;
}

CUresult write_step(bool wide, CUdeviceptr address, std::uint64_t value, unsigned flags,
                    WordStep* step) {
  if ((flags & ~static_cast<unsigned>(CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER)) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *step = {false, wide, address, value, CU_STREAM_WAIT_VALUE_GEQ};
  return CUDA_SUCCESS;
}

CUresult step_from(const CUstreamBatchMemOpParams& params, std::vector<WordStep>* steps) {
  WordStep step;
  CUresult failed = CUDA_SUCCESS;
  const auto& wait = params.waitValue;
  const auto& write = params.writeValue;
  switch (params.operation) {
    case CU_STREAM_MEM_OP_WAIT_VALUE_32:
      failed = wait_step(false, wait.address, wait.value, wait.flags, &step);
      break;
    case CU_STREAM_MEM_OP_WAIT_VALUE_64:
      failed = wait_step(true, wait.address, wait.value64, wait.flags, &step);
      break;
    case CU_STREAM_MEM_OP_WRITE_VALUE_32:
      failed = write_step(false, write.address, write.value, write.flags, &step);
      break;
    case CU_STREAM_MEM_OP_WRITE_VALUE_64:
      failed = write_step(true, write.address, write.value64, write.flags, &step);
      break;
    case CU_STREAM_MEM_OP_BARRIER: return CUDA_SUCCESS;  // each step is one already
    case CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES: return CUDA_ERROR_NOT_SUPPORTED;
    default: return CUDA_ERROR_INVALID_VALUE;
  }
  if (failed == CUDA_SUCCESS) steps->push_back(step);
  return failed;
}

// A list of operations, as calls and nodes give it.
CUresult steps_from(unsigned count, const CUstreamBatchMemOpParams* list, unsigned flags,
                    std::vector<WordStep>* steps) {
  if (count == 0 || count > kBatchMax || list == nullptr || flags != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (unsigned n = 0; n < count; ++n) {
    if (CUresult failed = step_from(list[n], steps)) return failed;
  }
  return CUDA_SUCCESS;
}

}  // namespace

CUresult mem_op_work(const CUDA_BATCH_MEM_OP_NODE_PARAMS& params, Work* work) {
  Context* context = nullptr;
  if (CUresult failed = find_context(params.ctx, &context)) return failed;
  std::vector<WordStep> steps;
  if (CUresult failed = steps_from(params.count, params.paramArray, params.flags, &steps)) {
    return failed;
  }
  for (const WordStep& step : steps) {
    if (CUresult failed = check(step)) return failed;
  }
  auto told = std::make_shared<NodeParams>();
  told->mem_ops.assign(params.paramArray, params.paramArray + params.count);
  told->told.type = CU_GRAPH_NODE_TYPE_BATCH_MEM_OP;
  told->told.memOp = {context->handle(), params.count, told->mem_ops.data(), params.flags};
  *work = {[context, steps = std::move(steps)] {
    for (const WordStep& step : steps) carry_out(step, *context);
  }};
  work->params = std::move(told);
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu

using namespace farcall::softgpu;

extern "C" {

CUresult cuStreamWaitValue32_v2(CUstream stream, CUdeviceptr addr, cuuint32_t value,
                                unsigned flags) {
  WordStep step;
  if (CUresult failed = wait_step(false, addr, value, flags, &step)) return failed;
  return submit(stream, {step});
}

CUresult cuStreamWaitValue64_v2(CUstream stream, CUdeviceptr addr, cuuint64_t value,
                                unsigned flags) {
  WordStep step;
  if (CUresult failed = wait_step(true, addr, value, flags, &step)) return failed;
  return submit(stream, {step});
}

CUresult cuStreamWriteValue32_v2(CUstream stream, CUdeviceptr addr, cuuint32_t value,
                                 unsigned flags) {
  WordStep step;
  if (CUresult failed = write_step(false, addr, value, flags, &step)) return failed;
  return submit(stream, {step});
}

CUresult cuStreamWriteValue64_v2(CUstream stream, CUdeviceptr addr, cuuint64_t value,
                                 unsigned flags) {
  WordStep step;
  if (CUresult failed = write_step(true, addr, value, flags, &step)) return failed;
  return submit(stream, {step});
}

CUresult cuStreamBatchMemOp_v2(CUstream stream, unsigned count,
                               CUstreamBatchMemOpParams* paramArray, unsigned flags) {
  std::vector<WordStep> steps;
  if (CUresult failed = steps_from(count, paramArray, flags, &steps)) return failed;
  return submit(stream, std::move(steps));
}
}
