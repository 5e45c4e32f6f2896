// call<Row>: the client half of a call, made from its row.
//
//   CUresult status = call<row::cuMemAlloc_v2>(&address, bytes);
//
// Checks what can be known here (null outputs, lengths over a limit), sends, and stores the outputs
// if and only if the call succeeded. Queued rows return as soon as the request is on its way.
// Threads: any.  Never throws, never keeps a pointer of the caller's.
#pragma once
#include "transport/api/codec_out.h"
#include "transport/api/rows.h"

namespace farcall::api {

template <class Row, class... Asks>
CUresult send(Asks... asks) noexcept {
  // One more than the parameters, so that a row without any has no empty array.
  [[maybe_unused]] const std::uint64_t counts[] = {asks.count()..., 0};
  CUresult status = CUDA_SUCCESS;
  ((status = status == CUDA_SUCCESS ? asks.check(counts) : status), ...);
  if (status != CUDA_SUCCESS) return status;

  auto encode = [&](wire::Writer& out) {
    (asks.ask(out, counts), ...);
    static_cast<void>(out);
  };
  const RowInfo& row = Row::info();
  if (row.when == When::Queued) {
    status = caller_post(row, encode);
  } else {
    auto take = [&](wire::Reader& in) {
      (asks.take(in, counts), ...);
      [[maybe_unused]] const std::uint64_t after[] = {asks.count()..., 0};
      (asks.agree(in, counts, after), ...);
      return in.done();
    };
    status =
        row.when == When::Cached ? caller_cached(row, encode, take) : caller_ask(row, encode, take);
  }
  if (status == CUDA_SUCCESS) (asks.commit(), ...);
  return status;
}

template <class Row, class... W, class... A>
CUresult call_words(Words<W...>, CUresult (*)(A...),
                    std::type_identity_t<A>... arguments) noexcept {
  return send<Row>(Ask<W, A>(arguments)...);
}

template <class Row, class... A>
CUresult call(A... arguments) noexcept {
  return call_words<Row>(typename Row::W{}, static_cast<typename Row::Fn*>(nullptr), arguments...);
}

}  // namespace farcall::api
