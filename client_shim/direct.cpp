#include "client_shim/direct.h"

#include <atomic>
#include <memory>

#include "client_shim/fleet.h"
#include "transport/base/log.h"

namespace farcall::shim {
namespace {

namespace hand = api::hand;
using Outcome = hand::DirectOutcome;

// A round trip whose answer is an outcome, and after kDone `rest`.
template <class Body, class Rest>
CUresult ask(Client& client, const api::RowInfo& row, const Body& body, Outcome* outcome,
             Rest* rest) {
  auto encode = [&](wire::Writer& out) { out.put(body); };
  auto take = [&](Reply& reply) {
    if (reply.status != CUDA_SUCCESS) return reply.status;
    *outcome = reply.in.get<Outcome>();
    if (*outcome == Outcome::kDone && rest != nullptr) *rest = reply.in.get<Rest>();
    return CUDA_SUCCESS;
  };
  return client.ask(row, encode, take);
}

constexpr Ticket* kNothing = nullptr;

std::atomic<DirectPaths*> g_paths{nullptr};

}  // namespace

// Fleets are never destroyed, and a process has one, or a few where it forks: a list that only
// grows. Without a lock, because a fork may come at any time.
DirectPaths& DirectPaths::of(Fleet& fleet) {
  DirectPaths* first = g_paths.load(std::memory_order_acquire);
  for (DirectPaths* one = first; one != nullptr; one = one->next_) {
    if (&one->fleet_ == &fleet) return *one;
  }
  auto fresh = std::make_unique<DirectPaths>(fleet);
  fresh->next_ = first;
  while (!g_paths.compare_exchange_weak(fresh->next_, fresh.get(), std::memory_order_acq_rel)) {
  }
  return *fresh.release();
}

std::optional<hand::DirectFacts> DirectPaths::facts_of(Client& client, CUresult* result) {
  {
    auto state = state_.lock();
    const Server& known = state->servers[client.number()];
    if (known.is_known) return known.facts;
  }
  Outcome outcome = Outcome::kNotHere;
  hand::DirectFacts facts{};
  auto take = [&](Reply& reply) {
    if (reply.status != CUDA_SUCCESS) return reply.status;
    outcome = reply.in.get<Outcome>();
    if (outcome == Outcome::kDone) facts = reply.in.get<hand::DirectFacts>();
    return CUDA_SUCCESS;
  };
  {
    Serving serving(fleet_, client);
    *result = client.ask(
        hand::kDirectFacts, [](wire::Writer&) {}, take);
  }
  if (*result != CUDA_SUCCESS) return std::nullopt;
  auto state = state_.lock();
  Server& known = state->servers[client.number()];
  known.is_known = true;
  if (outcome == Outcome::kDone && !hand::text_of(facts.name).empty()) known.facts = facts;
  return known.facts;
}

bool DirectPaths::is_tried(const Client& from, const Client& to) {
  return state_.lock()->failures[{from.number(), to.number()}] < limits::kDirectFailuresMax;
}

void DirectPaths::note(const Client& from, const Client& to, Outcome outcome) {
  auto state = state_.lock();
  int& failures = state->failures[{from.number(), to.number()}];
  if (outcome == Outcome::kDone) failures = 0;
  if (outcome == Outcome::kNotHere) failures = limits::kDirectFailuresMax;
  if (outcome == Outcome::kNoLink || outcome == Outcome::kRefused) ++failures;
  if (outcome == Outcome::kDone || failures != limits::kDirectFailuresMax) return;
  FARCALL_LOG_INFO("copies from %s to %s go through this process", from.settings().server.c_str(),
                   to.settings().server.c_str());
}

std::optional<CUresult> DirectPaths::copy(End to, End from, std::size_t bytes) {
  if (bytes < limits::kDirectBytesMin || !is_tried(from.client, to.client)) return std::nullopt;
  // What this process has, too, is not the server's to give or take.
  if (from.client.mirrors().overlaps(from.at, bytes) ||
      to.client.mirrors().overlaps(to.at, bytes)) {
    return std::nullopt;
  }
  CUresult result = CUDA_SUCCESS;
  const auto sender = facts_of(from.client, &result);
  if (result != CUDA_SUCCESS) return result;
  const auto receiver = facts_of(to.client, &result);
  if (result != CUDA_SUCCESS) return result;
  Outcome outcome = Outcome::kNotHere;
  Ticket ticket{};
  if (sender && receiver) {
    Serving serving(fleet_, to.client);
    fleet_.show_block(to.client, to.at);
    const hand::DirectExpect expect{to.at, bytes, sender->name};
    result = ask(to.client, hand::kDirectExpect, expect, &outcome, &ticket);
  }
  if (result != CUDA_SUCCESS) return result;
  if (outcome != Outcome::kDone) {
    note(from.client, to.client, outcome);
    return std::nullopt;
  }
  Outcome pushed = Outcome::kNoLink;
  {
    Serving serving(fleet_, from.client);
    fleet_.show_block(from.client, from.at);
    const hand::DirectPush push{from.at, bytes, receiver->session, ticket, receiver->name};
    result = ask(from.client, hand::kDirectPush, push, &pushed, kNothing);
  }
  // The receiver has the last word, whatever the sender says.
  Serving serving(fleet_, to.client);
  const bool failed = result != CUDA_SUCCESS || pushed != Outcome::kDone;
  const hand::DirectSettle settle{ticket, failed ? 1u : 0u, 0};
  CUresult settled = ask(to.client, hand::kDirectSettle, settle, &outcome, kNothing);
  if (result != CUDA_SUCCESS) return result;
  if (settled != CUDA_SUCCESS) return settled;
  // A sender that says done when nothing came is one that failed.
  const bool is_false = outcome != Outcome::kDone && pushed == Outcome::kDone;
  note(from.client, to.client,
       is_false                    ? Outcome::kRefused
       : outcome == Outcome::kDone ? outcome
                                   : pushed);
  return outcome == Outcome::kDone ? std::optional(CUDA_SUCCESS) : std::nullopt;
}

}  // namespace farcall::shim
