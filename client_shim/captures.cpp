#include "client_shim/captures.h"

#include <algorithm>
#include <utility>

#include "client_shim/entry.h"
#include "client_shim/fleet.h"
#include "transport/api/client_call.h"
#include "transport/api/rows.h"
#include "transport/base/log.h"

namespace farcall::shim {

namespace row = api::row;

namespace {

// Without destructors, because CUDA calls reach a thread after its thread-local objects are gone.
thread_local CUstreamCaptureMode t_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
thread_local std::uint64_t t_thread = 0;

std::uint64_t this_thread_id() {
  static std::atomic<std::uint64_t> last{0};
  if (t_thread == 0) t_thread = ++last;
  return t_thread;
}

bool has_news(CUresult looked) { return looked != CUDA_SUCCESS && looked != CUDA_ERROR_NOT_READY; }

// Makes the driver find the capture spoilt. Of another thread's own stream only we know it.
void spoil_there(const Captures::Capture& capture) {
  if (capture.stream == CU_STREAM_PER_THREAD && capture.thread != this_thread_id()) return;
  Fleet* fleet = current_fleet();
  if (fleet == nullptr) {
    (void)api::call<row::cuStreamQuery>(capture.stream);
    return;
  }
  Serving serving(*fleet, *capture.client);
  (void)api::call<row::cuStreamQuery>(capture.stream);
}

// Whether the answer of the server's cuStreamEndCapture left a capture behind. An earlier failure
// may be what it tells; then it was carried out all the same.
bool is_over(CUstream stream, CUresult ended) {
  switch (ended) {
    case CUDA_SUCCESS:
    case CUDA_ERROR_STREAM_CAPTURE_INVALIDATED:
    case CUDA_ERROR_STREAM_CAPTURE_UNJOINED: return true;
    default: break;
  }
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  const CUresult asked = api::call<row::cuStreamIsCapturing>(stream, &status);
  return asked != CUDA_SUCCESS || status == CU_STREAM_CAPTURE_STATUS_NONE;
}

}  // namespace

Captures::All::iterator Captures::find(All& all, CUstream stream) {
  return std::find_if(all.begin(), all.end(), [&](const Capture& each) {
    return each.stream == stream &&
           (stream != CU_STREAM_PER_THREAD || each.thread == this_thread_id());
  });
}

void Captures::begun(Capture capture) {
  capture.thread = this_thread_id();
  auto all = all_.lock();
  all->push_back(capture);
  count_.store(all->size(), std::memory_order_release);
}

CUresult Captures::judge_end(CUstream stream) {
  auto all = all_.lock();
  auto at = find(*all, stream);
  if (at == all->end() || at->mode == CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_SUCCESS;
  return at->thread == this_thread_id() ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
}

Captures::Capture Captures::ended(CUstream stream) {
  auto all = all_.lock();
  auto at = find(*all, stream);
  if (at == all->end()) return {};
  Capture was = *at;
  all->erase(at);
  count_.store(all->size(), std::memory_order_release);
  return was;
}

std::vector<Captures::Capture> Captures::against_this_thread() {
  std::vector<Capture> found;
  if (!any() || t_mode == CU_STREAM_CAPTURE_MODE_RELAXED) return found;
  auto all = all_.lock();
  for (const Capture& each : *all) {
    const bool is_own = each.thread == this_thread_id();
    const bool forbids = is_own ? each.mode != CU_STREAM_CAPTURE_MODE_RELAXED
                                : t_mode == CU_STREAM_CAPTURE_MODE_GLOBAL &&
                                      each.mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
    if (forbids) found.push_back(each);
  }
  return found;
}

void Captures::spoil(const Capture& capture) {
  auto all = all_.lock();
  for (Capture& each : *all) {
    if (each.stream == capture.stream && each.thread == capture.thread) each.is_spoilt = true;
  }
}

std::vector<Captures::Capture> Captures::of_client(const Client& client) {
  std::vector<Capture> found;
  auto all = all_.lock();
  for (const Capture& each : *all) {
    if (each.client == &client) found.push_back(each);
  }
  return found;
}

CUstreamCaptureMode Captures::exchange_mode(CUstreamCaptureMode mode) {
  return std::exchange(t_mode, mode);
}

CUresult judge_in_capture(CaptureRule rule, CaptureSubject subject) {
  return with_client([&](Client& client) {
    Captures& captures = client.captures();
    if (subject.is_legacy()) {
      const CUresult used = api::call<row::cuStreamQuery>(CU_STREAM_LEGACY);
      if (has_news(used)) return used;
    }
    if (rule == CaptureRule::kStreamed) return CUDA_SUCCESS;
    const auto conflicts = captures.against_this_thread();
    if (conflicts.empty()) return CUDA_SUCCESS;
    if (rule == CaptureRule::kLook) {
      // An event that was never recorded is done, whatever is captured.
      if (!subject.has_stream && !client.completions().was_recorded(subject.event)) {
        return CUDA_SUCCESS;
      }
      const CUresult looked = subject.has_stream ? api::call<row::cuStreamQuery>(subject.stream)
                                                 : api::call<row::cuEventQuery>(subject.event);
      if (has_news(looked)) return looked;
    }
    FARCALL_LOG_INFO("a capture forbids a call, and is spoilt by it");
    for (const Captures::Capture& each : conflicts) {
      captures.spoil(each);
      spoil_there(each);
    }
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  });
}

void recheck_captures(Client& client) {
  if (!client.captures().any()) return;
  for (const Captures::Capture& each : client.captures().of_client(client)) {
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
    const CUresult asked = api::call<row::cuStreamIsCapturing>(each.stream, &status);
    if (asked == CUDA_SUCCESS && status != CU_STREAM_CAPTURE_STATUS_NONE) continue;
    if (client.captures().ended(each.stream).client != nullptr) client.completions().capture_ends();
  }
}

CUresult end_capture(Client& client, CUstream stream, CUgraph* graph) {
  if (CUresult wrong = client.captures().judge_end(stream); wrong != CUDA_SUCCESS) return wrong;
  CUgraph made = nullptr;
  CUresult ended = api::call<row::cuStreamEndCapture>(stream, &made);
  if (!is_over(stream, ended)) return ended;
  const Captures::Capture was = client.captures().ended(stream);
  if (was.client == nullptr && ended != CUDA_SUCCESS) return ended;  // there was none
  // Whatever else it answers, there may still be a capture: then waits go on being asked for.
  if (was.client != nullptr) client.completions().capture_ends();
  if (ended == CUDA_SUCCESS && was.is_spoilt) {
    if (was.owns_graph) (void)api::call<row::cuGraphDestroy>(made);
    ended = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  }
  // "If capture was invalidated … then a NULL graph will be returned."
  if (graph != nullptr) *graph = ended == CUDA_SUCCESS ? made : nullptr;
  const bool is_dropped = graph == nullptr && ended == CUDA_SUCCESS && was.owns_graph;
  if (is_dropped) (void)api::call<row::cuGraphDestroy>(made);
  return ended;
}

}  // namespace farcall::shim
