#include "client_shim/pager.h"

#include <exception>

#include "client_shim/flusher.h"

namespace farcall::shim {

bool Pager::start() {
  auto body = [](void* self) -> void* {
    static_cast<Pager*>(self)->serve();
    return nullptr;
  };
  if (!start_quiet_thread(body, this)) return false;
  // Whether it could begin, it says at the first request.
  return run([] { return CUDA_SUCCESS; }) == CUDA_SUCCESS;
}

bool Pager::is_this_thread() const {
  return runs_.load(std::memory_order_acquire) && ::pthread_equal(thread_, ::pthread_self()) != 0;
}

CUresult Pager::run(FunctionRef<CUresult()> work) {
  if (is_this_thread()) return work();
  Request request;
  request.work = &work;
  return hand_over(request);
}

CUresult Pager::touch(std::uint64_t address, bool is_write) {
  if (is_this_thread()) return CUDA_ERROR_NOT_FOUND;  // a defect of ours: nobody could answer
  Request request;
  request.address = address;
  request.is_write = is_write;
  return hand_over(request);
}

CUresult Pager::hand_over(Request& request) {
  request.next = waiting_.load(std::memory_order_relaxed);
  while (!waiting_.compare_exchange_weak(request.next, &request, std::memory_order_release,
                                         std::memory_order_relaxed)) {
  }
  rings_.fetch_add(1, std::memory_order_release);
  rings_.notify_one();
  request.done.wait(0, std::memory_order_acquire);
  return request.result;
}

CUresult Pager::carry_out(const Request& request) {
  try {
    if (request.work != nullptr) return (*request.work)();
    return touch_(self_, request.address, request.is_write);
  } catch (const std::exception&) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
}

void Pager::serve() {
  thread_ = ::pthread_self();
  runs_.store(true, std::memory_order_release);
  const bool can = begin_(self_);
  for (int heard = 0;;) {
    Request* latest = waiting_.exchange(nullptr, std::memory_order_acquire);
    if (latest == nullptr) {
      rings_.wait(heard, std::memory_order_acquire);
      heard = rings_.load(std::memory_order_acquire);
      continue;
    }
    Request* first = nullptr;  // in the order they came
    while (latest != nullptr) {
      Request* next = latest->next;
      latest->next = first;
      first = latest;
      latest = next;
    }
    while (first != nullptr) {
      Request* request = first;
      first = request->next;  // it may be gone when it has been told
      request->result = can ? carry_out(*request) : CUDA_ERROR_OUT_OF_MEMORY;
      request->done.store(1, std::memory_order_release);
      request->done.notify_one();
    }
  }
}

}  // namespace farcall::shim
