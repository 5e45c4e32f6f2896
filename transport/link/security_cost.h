// SecurityCost: what the encryption of one session has taken so far, at this end.
//
//   const SecurityCost cost = security_cost(session);
//   double of_the_time = double(cost.ns()) / double(seconds_it_runs * 1e9);
//
// Processor time of all threads, helpers too (crypto_pool.h), so it can be more than the time that
// passed. By samples: cost_meter.h. The handshake, some milliseconds, is not in it.
// Threads: any.
#pragma once
#include "transport/link/cost_meter.h"
#include "transport/link/session.h"

namespace farcall::link {

struct SecurityCost {
  RecordCost sealed;
  RecordCost opened;
  std::uint64_t ns() const { return sealed.ns + opened.ns; }
};

SecurityCost security_cost(const Session& session);

}  // namespace farcall::link
