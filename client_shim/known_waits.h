// Waits that are answered here when their end is certain, and asked for otherwise.
//
//   return wait_at<row::cuStreamSynchronize>(client, place, stream);
//   return wait_for<row::cuEventQuery>(client, event);
//
// Threads: any.
#pragma once
#include "client_shim/client.h"
#include "transport/api/client_call.h"

namespace farcall::shim {

// What a success of this row shows, and what is needed to do without it.
template <class Row>
constexpr Proof proof_of() {
  return Row::info().when == api::When::Waits ? Proof::kWaited : Proof::kSeen;
}

// What is here must say nothing that a round trip could still contradict: an earlier failure of
// this thread, a fault of its context, a capture. completions.h knows about the work.
// Whether a wait for this place was for everything that is under way.
inline bool is_for_all(Client& client, const WorkPlace& place) {
  return !place.is_stream && client.contexts().is_alone(client.this_thread().current());
}

template <class Row, class... A>
CUresult wait_at(Client& client, const WorkPlace& place, A... arguments) {
  if (client.may_answer_waits() && client.completions().is_idle(place, proof_of<Row>())) {
    client.stats().count(CallKind::kLocal, Row::info().name);
    client.mirrors().settle(client.mirrors().launches(), is_for_all(client, place));
    return CUDA_SUCCESS;
  }
  const std::uint64_t work = client.completions().work();
  const std::uint64_t launches = client.mirrors().launches();
  CUresult result = api::call<Row>(arguments...);
  client.mirrors().settle(launches, result == CUDA_SUCCESS && is_for_all(client, place));
  if (result == CUDA_SUCCESS) client.completions().prove(place, work, proof_of<Row>());
  return result;
}

template <class Row>
CUresult wait_for(Client& client, CUevent event) {
  const auto known = client.completions().known(event);
  if (known.proof >= proof_of<Row>() && client.may_answer_waits(known.work)) {
    client.stats().count(CallKind::kLocal, Row::info().name);
    client.mirrors().settle(0, false);
    return CUDA_SUCCESS;
  }
  const std::uint32_t record = client.completions().latest_record(event);
  CUresult result = api::call<Row>(event);
  client.mirrors().settle(0, false);
  if (result == CUDA_SUCCESS) client.completions().prove(event, record, proof_of<Row>());
  return result;
}

}  // namespace farcall::shim
