// MadeDriver: a driver function for any row, made from its prototype and words. It looks at all its
// inputs and fills all its outputs.
//
//   driver.cuStreamQuery = MadeDriver<row::cuStreamQuery::Fn, row::cuStreamQuery::W>::call;
#pragma once
#include "tests/transport/api/row_words.h"

namespace farcall::api {

template <class Fn, class L>
struct MadeDriver;

template <class... A, class... W>
struct MadeDriver<CUresult(A...), Words<W...>> {
  static CUresult call(A... a) {
    ++seen().runs;
    [[maybe_unused]] const std::uint64_t counts[] = {count_now<W>(a)..., 0};
    Digest digest(nullptr);
    (Word<W, A>::look(digest, a, counts), ...);
    seen().inputs = digest.value;
    if (seen().status == CUDA_SUCCESS) (Word<W, A>::fill(a, counts), ...);
    return seen().status;
  }
};

}  // namespace farcall::api
