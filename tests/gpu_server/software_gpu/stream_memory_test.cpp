// Streams that write words and wait for them.
#include <vector>

#include "tests/gpu_server/software_gpu/driver_session.h"

namespace farcall::softgpu::tests {
namespace {

CUstream make_stream() {
  CUstream stream = nullptr;
  REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  return stream;
}

template <class Word>
Word word_at(CUdeviceptr address) {
  Word word = 0;
  CHECK(cuMemcpyDtoH_v2(&word, address, sizeof word) == CUDA_SUCCESS);
  return word;
}

}  // namespace

TEST_CASE("one stream waits for what another writes") {
  DriverSession session;
  const CUdeviceptr flag = session.allocate(16), result = session.allocate(16);
  CHECK(cuMemsetD32_v2(flag, 0, 4) == CUDA_SUCCESS);
  CHECK(cuMemsetD32_v2(result, 0, 4) == CUDA_SUCCESS);
  CUstream waiting = make_stream(), writing = make_stream();
  CHECK(cuStreamWaitValue32_v2(waiting, flag, 3, CU_STREAM_WAIT_VALUE_GEQ) == CUDA_SUCCESS);
  CHECK(cuStreamWriteValue32_v2(waiting, result, 7, 0) == CUDA_SUCCESS);
  CHECK(cuStreamQuery(waiting) == CUDA_ERROR_NOT_READY);
  CHECK(cuStreamWriteValue32_v2(writing, flag, 2, 0) == CUDA_SUCCESS);
  CHECK(cuStreamSynchronize(writing) == CUDA_SUCCESS);
  CHECK(cuStreamQuery(waiting) == CUDA_ERROR_NOT_READY);
  CHECK(cuStreamWriteValue32_v2(writing, flag, 4, 0) == CUDA_SUCCESS);
  CHECK(cuStreamSynchronize(waiting) == CUDA_SUCCESS);
  CHECK(word_at<unsigned>(result) == 7);
}

TEST_CASE("every condition holds when it should, of 32 and 64 bits") {
  DriverSession session;
  const CUdeviceptr word = session.allocate(16);
  CUstream stream = make_stream();
  const auto passes = [&](unsigned long long now, unsigned long long value, unsigned how) {
    CHECK(cuStreamWriteValue64_v2(stream, word, now, 0) == CUDA_SUCCESS);
    CHECK(cuStreamWaitValue64_v2(stream, word, value, how) == CUDA_SUCCESS);
    CHECK(cuStreamWaitValue32_v2(stream, word, static_cast<unsigned>(value), how) == CUDA_SUCCESS);
    return cuStreamSynchronize(stream) == CUDA_SUCCESS;
  };
  CHECK(passes(5, 5, CU_STREAM_WAIT_VALUE_EQ));
  CHECK(passes(2, ~0ULL, CU_STREAM_WAIT_VALUE_GEQ));  // the difference counts, as a signed number
  CHECK(passes(6, 2, CU_STREAM_WAIT_VALUE_AND));
  CHECK(passes(6, 2, CU_STREAM_WAIT_VALUE_NOR));
  CHECK(word_at<unsigned long long>(word) == 6);
}

TEST_CASE("a batch is done in order, or refused as a whole") {
  DriverSession session;
  const CUdeviceptr words = session.allocate(16);
  CUstream stream = make_stream();
  std::vector<CUstreamBatchMemOpParams> steps(3);
  steps[0].writeValue = {CU_STREAM_MEM_OP_WRITE_VALUE_64, words, {}, 0, 0};
  steps[0].writeValue.value64 = 0x1'0000'0002ULL;
  steps[1].memoryBarrier = {CU_STREAM_MEM_OP_BARRIER, 0};
  steps[2].waitValue = {CU_STREAM_MEM_OP_WAIT_VALUE_32, words + 4, {}, CU_STREAM_WAIT_VALUE_EQ, 0};
  steps[2].waitValue.value = 1;
  CHECK(cuStreamBatchMemOp_v2(stream, 3, steps.data(), 0) == CUDA_SUCCESS);
  CHECK(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  CHECK(word_at<unsigned>(words) == 2);
  steps[0].writeValue.value64 = 9;
  steps[1].flushRemoteWrites = {CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES, 0};
  CHECK(cuStreamBatchMemOp_v2(stream, 3, steps.data(), 0) == CUDA_ERROR_NOT_SUPPORTED);
  CHECK(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  CHECK(word_at<unsigned>(words) == 2);
  CHECK(cuStreamBatchMemOp_v2(stream, 0, steps.data(), 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuStreamBatchMemOp_v2(stream, 3, nullptr, 0) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("words that are no memory, not aligned or oddly waited for are refused") {
  DriverSession session;
  const CUdeviceptr words = session.allocate(16);
  CUstream stream = make_stream();
  CHECK(cuStreamWriteValue32_v2(stream, 0, 1, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuStreamWriteValue32_v2(stream, words + 2, 1, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuStreamWriteValue64_v2(stream, words + 4, 1, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuStreamWriteValue64_v2(stream, words + 16, 1, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuStreamWriteValue32_v2(stream, words, 1, 2) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuStreamWaitValue32_v2(stream, words, 1, 4) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuStreamWaitValue32_v2(stream, words, 1, CU_STREAM_WAIT_VALUE_FLUSH) ==
        CUDA_ERROR_NOT_SUPPORTED);
}

}  // namespace farcall::softgpu::tests
