#include "gpu_server/direct_links.h"

#include <algorithm>

#include "gpu_server/desk.h"
#include "gpu_server/direct_hold.h"
#include "transport/api/hand_direct.h"
#include "transport/base/limits_direct.h"
#include "transport/base/log.h"
#include "transport/link/lanes.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;

// Another server's doing: it must not fill the log.
LogLimit g_peer_log(5);

std::string key_of(const DirectLinks::Parcel& parcel) {
  return parcel.receiver + "/" + link::to_string(parcel.session);
}

Result<std::unique_ptr<link::Session>> session_of(link::Handover& gift, link::Role role) {
  const Deadline deadline = Deadline::after(system_clock(), limits::kHandshakeMs);
  Result<link::LaneCarriers> lanes = link::lanes_of(gift, nullptr, deadline);
  if (!lanes.ok()) return lanes.status();
  return link::session_from_carriers(std::move(lanes).value(), std::move(gift.keys), role,
                                     deadline);
}

// The answer to the frame sent last.
Outcome await_answer(link::Session& session, std::uint32_t call) {
  Result<link::Frame> frame = session.receive(Deadline::never());
  if (!frame.ok()) return Outcome::kNoLink;
  wire::Reader in(frame->body);
  const auto said = in.get<Outcome>();
  if (!in.done() || frame->head.flags != wire::kReply || frame->head.call != call) {
    session.close(Status(Code::kMalformed, "another server answers what was not asked"));
    return Outcome::kNoLink;
  }
  return said;
}

void answer(link::Session& session, const wire::FrameHeader& to, Outcome what) {
  const wire::FrameHeader head{
      .id = to.id, .flags = wire::kReply, .call = to.call, .thread = to.thread};
  // A link that fails shows at the next receive.
  (void)session.post(head, link::Flush::kNow, [what](wire::Writer& out) { out.put(what); });
}

}  // namespace

DirectLinks::DirectLinks(const api::Driver& driver, Settings settings, Ask ask)
    : driver_(driver),
      settings_(std::move(settings)),
      ask_(std::move(ask)),
      tickets_(system_clock()) {}

bool DirectLinks::is_peer(std::string_view name) const {
  return std::find(settings_.peers.begin(), settings_.peers.end(), name) != settings_.peers.end();
}

void DirectLinks::take(link::Handover gift) {
  if (gift.kind == link::HandoverKind::kPeerCame) return came(std::move(gift));
  auto state = state_.lock();
  auto asked = state->asked.find(gift.number);
  if (asked == state->asked.end()) return;  // nobody waits any more
  asked->second.emplace(std::move(gift));
  changed_.notify_all();
}

// --- links that came -----------------------------------------------------------------------------

void DirectLinks::came(link::Handover gift) {
  const bool is_good = is_peer(gift.peer) && tickets_.is_good(gift.ticket, gift.peer);
  if (!is_good) {
    if (g_peer_log.allow()) {
      FARCALL_LOG_WARN("a link from %s is refused: its ticket is not good here (any more)",
                       gift.peer.c_str());
    }
    return;
  }
  if (!make_room(gift.peer)) {
    if (g_peer_log.allow()) {
      FARCALL_LOG_WARN("a link from %s is refused: this session has as many as it may",
                       gift.peer.c_str());
    }
    return;
  }
  auto state = state_.lock();
  if (state->stopped) return;
  Incoming& link = state->incoming.emplace_back();
  link.sender = gift.peer;
  auto serve_it = [this, &link, held = std::move(gift)]() mutable { serve(link, std::move(held)); };
  try {
    link.thread = std::thread(std::move(serve_it));
  } catch (const std::exception& error) {
    FARCALL_LOG_WARN("no thread for a link from another server: %s", error.what());
    state->incoming.pop_back();
  }
}

bool DirectLinks::make_room(const std::string& sender) {
  std::list<Incoming> ended;
  std::shared_ptr<link::Session> older;
  std::size_t others = 0;
  bool is_being_made = false;
  {
    auto state = state_.lock();
    for (auto at = state->incoming.begin(); at != state->incoming.end();) {
      auto next = std::next(at);
      if (at->is_over) {
        ended.splice(ended.end(), state->incoming, at);
      } else if (at->sender != sender) {
        others += at->is_replaced ? 0 : 1;
      } else if (at->session == nullptr) {
        is_being_made = true;  // one at a time: it cannot be broken off
      } else if (!at->is_replaced) {
        at->is_replaced = true;
        older = at->session;
      }
      at = next;
    }
  }
  for (Incoming& one : ended) one.thread.join();
  if (older != nullptr) older->close(Status(Code::kClosed, "a newer link took its place"));
  return !is_being_made && others < limits::kDirectLinksMax;
}

void DirectLinks::serve(Incoming& link, link::Handover gift) {
  auto made = session_of(gift, link::Role::kServer);
  bool serves = false;
  {
    auto state = state_.lock();
    serves = made.ok() && !state->stopped;
    if (serves) link.session = std::move(made).value();
  }
  if (serves) {
    FARCALL_LOG_INFO("a link from %s, for copies", link.sender.c_str());
    serve_frames(link);
    link.session->close(Status(Code::kClosed, "over"));
  }
  auto state = state_.lock();
  link.is_over = true;
}

void DirectLinks::serve_frames(Incoming& link) {
  link::Session& session = *link.session;
  BulkLane lane;
  const std::optional<Ticket>& claimed = link.claimed;  // changed by this thread only
  Expected what;
  for (;;) {
    Result<link::Frame> frame = session.receive(Deadline::never());
    if (!frame.ok()) break;
    const wire::FrameHeader head = frame->head;
    wire::Reader in(frame->body);
    if (head.id == hand::kDirectClaim.id && head.flags == wire::kWantsReply && !claimed) {
      const auto claim = in.get<hand::DirectClaim>();
      if (!in.done()) break;
      // First, so that who abandons the ticket finds the link whenever the ticket is in use.
      note_claim(link, claim.ticket);
      auto good = tickets_.claim(claim.ticket, link.sender, claim.bytes);
      if (good) {
        what = std::move(*good);
      } else {
        note_claim(link, std::nullopt);
        if (g_peer_log.allow()) {
          FARCALL_LOG_WARN("a ticket that %s shows is not good here (any more)",
                           link.sender.c_str());
        }
      }
      answer(session, head, good ? Outcome::kDone : Outcome::kRefused);
      continue;
    }
    const auto bytes = in.get<std::uint64_t>();
    if (head.id != hand::kDirectLand.id || !in.done() || !claimed || bytes != what.bytes ||
        head.flags != (wire::kWantsReply | wire::kBulkFollows)) {
      break;
    }
    BulkIn payload(session, lane, lane.take_ticket(), bytes);
    const Outcome result = land(what, payload);
    tickets_.landed(*claimed, result);
    note_claim(link, std::nullopt);
    if (result == Outcome::kNoLink) break;
    answer(session, head, result);
  }
  if (claimed) tickets_.landed(*claimed, Outcome::kNoLink);
  session.close(Status(Code::kMalformed, "not what servers say to each other"));
}

void DirectLinks::note_claim(Incoming& link, std::optional<Ticket> claimed) {
  auto state = state_.lock();
  link.claimed = claimed;
}

// As a copy from the client's own pageable memory, in the default stream.
Outcome DirectLinks::land(const Expected& what, BulkIn& payload) {
  Desk* desk = Desk::of_this_thread();
  if (desk == nullptr || driver_.cuMemcpyHtoD_v2 == nullptr || driver_.cuMemcpyDtoH_v2 == nullptr ||
      driver_.cuStreamSynchronize == nullptr || bind_(what.context_id) != CUDA_SUCCESS) {
    return Outcome::kFailed;
  }
  std::span<std::byte> staging = desk->staging.bytes();
  DirectHold memory(driver_, what.address, static_cast<std::size_t>(what.bytes));
  if (memory.is_held()) {
    // Waits for the default stream's turn, and finds what is wrong.
    CUresult turn = driver_.cuMemcpyDtoH_v2(staging.data(), what.address,
                                            std::min<std::size_t>(what.bytes, 64));
    if (turn != CUDA_SUCCESS) return Outcome::kFailed;
    return payload.read(memory.bytes()).ok() ? Outcome::kDone : Outcome::kNoLink;
  }
  for (std::uint64_t at = 0; at < what.bytes;) {
    auto room = staging.first(
        static_cast<std::size_t>(std::min<std::uint64_t>(what.bytes - at, staging.size())));
    if (!payload.read(room).ok()) return Outcome::kNoLink;
    CUresult copied = driver_.cuMemcpyHtoD_v2(what.address + at, room.data(), room.size());
    if (copied != CUDA_SUCCESS) return Outcome::kFailed;
    at += room.size();
  }
  // A driver's copy from pageable memory may still be on its way.
  return driver_.cuStreamSynchronize(nullptr) == CUDA_SUCCESS ? Outcome::kDone : Outcome::kFailed;
}

// --- links to other servers ----------------------------------------------------------------------

std::unique_ptr<link::Session> DirectLinks::open(const Parcel& parcel) {
  link::PeerRequest request;
  request.receiver = parcel.receiver;
  request.session = parcel.session;
  request.ticket = parcel.ticket;
  {
    auto state = state_.lock();
    request.number = ++state->last_request;
    state->asked[request.number];
  }
  const Status asked = ask_(request);
  std::optional<link::Handover> gift;
  {
    auto state = state_.lock();
    if (asked.ok()) {
      (void)state.wait_for(changed_, 2 * limits::kHandshakeMs, [&](State& now) {
        return now.stopped || now.asked[request.number].has_value();
      });
    }
    gift = std::move(state->asked[request.number]);
    state->asked.erase(request.number);
  }
  if (!gift || gift->kind != link::HandoverKind::kPeerReached) return nullptr;
  auto session = session_of(*gift, link::Role::kClient);
  if (!session.ok()) {
    FARCALL_LOG_WARN("no link to %s: %s", parcel.receiver.c_str(),
                     session.status().to_string().c_str());
    return nullptr;
  }
  return std::move(session).value();
}

link::Session* DirectLinks::borrow(const Parcel& parcel) {
  const std::string key = key_of(parcel);
  {
    auto state = state_.lock();
    const bool is_new = !state->outgoing.contains(key);
    if (is_new && state->outgoing.size() >= limits::kDirectLinksMax) return nullptr;
    state.wait(changed_, [&](State& now) { return now.stopped || !now.outgoing[key].is_lent; });
    if (state->stopped) return nullptr;
    Outgoing& link = state->outgoing[key];
    link.is_lent = true;
    if (link.session != nullptr && link.session->closed().ok()) return link.session.get();
  }
  std::shared_ptr<link::Session> fresh = open(parcel);
  auto state = state_.lock();
  Outgoing& link = state->outgoing[key];
  link.session.swap(fresh);  // the one before ends without the lock, behind it
  if (link.session != nullptr && !state->stopped) return link.session.get();
  state->outgoing.erase(key);
  changed_.notify_all();
  return nullptr;
}

void DirectLinks::give_back(const Parcel& parcel) {
  state_.lock()->outgoing[key_of(parcel)].is_lent = false;
  changed_.notify_all();
}

Outcome DirectLinks::send(link::Session& session, const Parcel& parcel,
                          std::span<const std::byte> memory, link::Session::Fill fill) {
  wire::FrameHeader head{.id = hand::kDirectClaim.id, .flags = wire::kWantsReply, .thread = 1};
  auto claim = [&](wire::Writer& out) { out.put(hand::DirectClaim{parcel.ticket, parcel.bytes}); };
  Result<std::uint32_t> sent = session.post(head, link::Flush::kNow, claim);
  if (!sent.ok()) return Outcome::kNoLink;
  Outcome said = await_answer(session, sent.value());
  if (said != Outcome::kDone) return said;
  if (facts_ != nullptr) facts_->count(Tally::kBytesOut, parcel.bytes);
  head.id = hand::kDirectLand.id;
  auto land = [&](wire::Writer& out) { out.put(parcel.bytes); };
  sent = memory.empty() ? session.post_bulk_from(head, land, parcel.bytes, fill)
                        : session.post_bulk(head, land, memory);
  if (sent.status().code() == Code::kDriver) {
    // The other end waits for what will not come: it must not take it for another copy's.
    session.close(Status(Code::kClosed, "a copy was broken off"));
    return Outcome::kFailed;
  }
  return sent.ok() ? await_answer(session, sent.value()) : Outcome::kNoLink;
}

Outcome DirectLinks::push(const Parcel& parcel, std::span<const std::byte> memory,
                          link::Session::Fill fill) {
  if (!is_peer(parcel.receiver)) return Outcome::kNotHere;
  link::Session* session = borrow(parcel);
  if (session == nullptr) return Outcome::kNoLink;
  const Outcome result = send(*session, parcel, memory, fill);
  give_back(parcel);
  return result;
}

void DirectLinks::abandon(const Ticket& ticket) {
  std::vector<std::shared_ptr<link::Session>> claimers;
  {
    auto state = state_.lock();
    for (const Incoming& link : state->incoming) {
      if (link.claimed && is_same_ticket(*link.claimed, ticket)) claimers.push_back(link.session);
    }
  }
  for (const auto& session : claimers) {
    session->close(Status(Code::kClosed, "the client has given a copy up"));
  }
}

void DirectLinks::stop() {
  const Status over(Code::kClosed, "the session is over");
  std::list<Incoming> incoming;
  std::vector<std::shared_ptr<link::Session>> sessions;
  {
    auto state = state_.lock();
    state->stopped = true;
    for (const Incoming& link : state->incoming) sessions.push_back(link.session);
    for (const auto& [key, link] : state->outgoing) sessions.push_back(link.session);
    changed_.notify_all();
    incoming.swap(state->incoming);
  }
  for (const auto& session : sessions) {
    if (session != nullptr) session->close(over);
  }
  for (Incoming& link : incoming) link.thread.join();
}

}  // namespace farcall::server
