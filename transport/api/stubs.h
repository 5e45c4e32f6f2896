// Stubs: macros that define an exported cu* function from its prototype, whatever its parameters.
//
//   FARCALL_STUB(cuMemAlloc_v2, 2, my_alloc)      // CUresult cuMemAlloc_v2(a0, a1): my_alloc(a0,
//   a1) FARCALL_TWIN(cuStreamQuery_ptsz, cuStreamQuery, 1)
//
// The preprocessor cannot count a prototype's parameters, so each macro is told; a wrong number
// does not compile, because cuda.h has declared the function. Up to 20 parameters.
#pragma once
#include "transport/api/words.h"

namespace farcall::api {

// What a `_ptsz` function makes of its arguments: the null stream is the thread's own.
inline CUstream per_thread(CUstream stream) {
  return stream == nullptr ? CU_STREAM_PER_THREAD : stream;
}
template <class T>
T per_thread(T argument) {
  return argument;
}

}  // namespace farcall::api

#define FARCALL_EXPORT extern "C" __attribute__((visibility("default"))) CUresult CUDAAPI

// F is the call of CALLEE with the same arguments.
#define FARCALL_STUB(F, N, CALLEE) \
  FARCALL_EXPORT F(FARCALL_PARAMS(F, N)) { return CALLEE(FARCALL_ARGS(N)); }
// TWIN is F with the null stream read as the thread's own.
#define FARCALL_TWIN(TWIN, F, N) \
  FARCALL_EXPORT TWIN(FARCALL_PARAMS(TWIN, N)) { return ::F(FARCALL_TWIN_ARGS(N)); }
// TWIN is F, which has the thread's own stream as one more argument.
#define FARCALL_APPEND(TWIN, F, N)                     \
  FARCALL_EXPORT TWIN(FARCALL_PARAMS(TWIN, N)) {       \
    return ::F(FARCALL_ARGS(N), CU_STREAM_PER_THREAD); \
  }
#define FARCALL_APPEND_AND_WAIT(TWIN, F, N)                                               \
  FARCALL_EXPORT TWIN(FARCALL_PARAMS(TWIN, N)) {                                          \
    CUresult status = ::F(FARCALL_ARGS(N), CU_STREAM_PER_THREAD);                         \
    return status == CUDA_SUCCESS ? ::cuStreamSynchronize(CU_STREAM_PER_THREAD) : status; \
  }

// How many words a row has.
#define FARCALL_COUNT(...)                                                                       \
  FARCALL_COUNT_(__VA_ARGS__ __VA_OPT__(, ) 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, \
                 6, 5, 4, 3, 2, 1, 0)
#define FARCALL_COUNT_(w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15, w16, \
                       w17, w18, w19, n, ...)                                                     \
  n

#define FARCALL_JOIN_(a, b) a##b
#define FARCALL_JOIN(a, b) FARCALL_JOIN_(a, b)
#define FARCALL_PARAMS(F, N) FARCALL_JOIN(FARCALL_PARAMS_, N)(F)
#define FARCALL_ARGS(N) FARCALL_JOIN(FARCALL_ARGS_, N)
#define FARCALL_TWIN_ARGS(N) FARCALL_JOIN(FARCALL_TWIN_ARGS_, N)

#define FARCALL_P(F, I) ::farcall::api::detail::Param<decltype(::F), I> a##I
#define FARCALL_T(I) ::farcall::api::per_thread(a##I)
#define FARCALL_PARAMS_0(F)
#define FARCALL_PARAMS_1(F) FARCALL_P(F, 0)
#define FARCALL_PARAMS_2(F) FARCALL_PARAMS_1(F), FARCALL_P(F, 1)
#define FARCALL_PARAMS_3(F) FARCALL_PARAMS_2(F), FARCALL_P(F, 2)
#define FARCALL_PARAMS_4(F) FARCALL_PARAMS_3(F), FARCALL_P(F, 3)
#define FARCALL_PARAMS_5(F) FARCALL_PARAMS_4(F), FARCALL_P(F, 4)
#define FARCALL_PARAMS_6(F) FARCALL_PARAMS_5(F), FARCALL_P(F, 5)
#define FARCALL_PARAMS_7(F) FARCALL_PARAMS_6(F), FARCALL_P(F, 6)
#define FARCALL_PARAMS_8(F) FARCALL_PARAMS_7(F), FARCALL_P(F, 7)
#define FARCALL_PARAMS_9(F) FARCALL_PARAMS_8(F), FARCALL_P(F, 8)
#define FARCALL_PARAMS_10(F) FARCALL_PARAMS_9(F), FARCALL_P(F, 9)
#define FARCALL_PARAMS_11(F) FARCALL_PARAMS_10(F), FARCALL_P(F, 10)
#define FARCALL_PARAMS_12(F) FARCALL_PARAMS_11(F), FARCALL_P(F, 11)
#define FARCALL_PARAMS_13(F) FARCALL_PARAMS_12(F), FARCALL_P(F, 12)
#define FARCALL_PARAMS_14(F) FARCALL_PARAMS_13(F), FARCALL_P(F, 13)
#define FARCALL_PARAMS_15(F) FARCALL_PARAMS_14(F), FARCALL_P(F, 14)
#define FARCALL_PARAMS_16(F) FARCALL_PARAMS_15(F), FARCALL_P(F, 15)
#define FARCALL_PARAMS_17(F) FARCALL_PARAMS_16(F), FARCALL_P(F, 16)
#define FARCALL_PARAMS_18(F) FARCALL_PARAMS_17(F), FARCALL_P(F, 17)
#define FARCALL_PARAMS_19(F) FARCALL_PARAMS_18(F), FARCALL_P(F, 18)
#define FARCALL_PARAMS_20(F) FARCALL_PARAMS_19(F), FARCALL_P(F, 19)

#define FARCALL_ARGS_0
#define FARCALL_ARGS_1 a0
#define FARCALL_ARGS_2 FARCALL_ARGS_1, a1
#define FARCALL_ARGS_3 FARCALL_ARGS_2, a2
#define FARCALL_ARGS_4 FARCALL_ARGS_3, a3
#define FARCALL_ARGS_5 FARCALL_ARGS_4, a4
#define FARCALL_ARGS_6 FARCALL_ARGS_5, a5
#define FARCALL_ARGS_7 FARCALL_ARGS_6, a6
#define FARCALL_ARGS_8 FARCALL_ARGS_7, a7
#define FARCALL_ARGS_9 FARCALL_ARGS_8, a8
#define FARCALL_ARGS_10 FARCALL_ARGS_9, a9
#define FARCALL_ARGS_11 FARCALL_ARGS_10, a10
#define FARCALL_ARGS_12 FARCALL_ARGS_11, a11
#define FARCALL_ARGS_13 FARCALL_ARGS_12, a12
#define FARCALL_ARGS_14 FARCALL_ARGS_13, a13
#define FARCALL_ARGS_15 FARCALL_ARGS_14, a14
#define FARCALL_ARGS_16 FARCALL_ARGS_15, a15
#define FARCALL_ARGS_17 FARCALL_ARGS_16, a16
#define FARCALL_ARGS_18 FARCALL_ARGS_17, a17
#define FARCALL_ARGS_19 FARCALL_ARGS_18, a18
#define FARCALL_ARGS_20 FARCALL_ARGS_19, a19

#define FARCALL_TWIN_ARGS_0
#define FARCALL_TWIN_ARGS_1 FARCALL_T(0)
#define FARCALL_TWIN_ARGS_2 FARCALL_TWIN_ARGS_1, FARCALL_T(1)
#define FARCALL_TWIN_ARGS_3 FARCALL_TWIN_ARGS_2, FARCALL_T(2)
#define FARCALL_TWIN_ARGS_4 FARCALL_TWIN_ARGS_3, FARCALL_T(3)
#define FARCALL_TWIN_ARGS_5 FARCALL_TWIN_ARGS_4, FARCALL_T(4)
#define FARCALL_TWIN_ARGS_6 FARCALL_TWIN_ARGS_5, FARCALL_T(5)
#define FARCALL_TWIN_ARGS_7 FARCALL_TWIN_ARGS_6, FARCALL_T(6)
#define FARCALL_TWIN_ARGS_8 FARCALL_TWIN_ARGS_7, FARCALL_T(7)
#define FARCALL_TWIN_ARGS_9 FARCALL_TWIN_ARGS_8, FARCALL_T(8)
#define FARCALL_TWIN_ARGS_10 FARCALL_TWIN_ARGS_9, FARCALL_T(9)
#define FARCALL_TWIN_ARGS_11 FARCALL_TWIN_ARGS_10, FARCALL_T(10)
#define FARCALL_TWIN_ARGS_12 FARCALL_TWIN_ARGS_11, FARCALL_T(11)
#define FARCALL_TWIN_ARGS_13 FARCALL_TWIN_ARGS_12, FARCALL_T(12)
#define FARCALL_TWIN_ARGS_14 FARCALL_TWIN_ARGS_13, FARCALL_T(13)
#define FARCALL_TWIN_ARGS_15 FARCALL_TWIN_ARGS_14, FARCALL_T(14)
#define FARCALL_TWIN_ARGS_16 FARCALL_TWIN_ARGS_15, FARCALL_T(15)
#define FARCALL_TWIN_ARGS_17 FARCALL_TWIN_ARGS_16, FARCALL_T(16)
#define FARCALL_TWIN_ARGS_18 FARCALL_TWIN_ARGS_17, FARCALL_T(17)
#define FARCALL_TWIN_ARGS_19 FARCALL_TWIN_ARGS_18, FARCALL_T(18)
#define FARCALL_TWIN_ARGS_20 FARCALL_TWIN_ARGS_19, FARCALL_T(19)
