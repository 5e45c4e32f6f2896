#include "gpu_server/waiter_pool.h"

#include <system_error>

#include "transport/base/limits.h"

namespace farcall::server {

WaiterPool::~WaiterPool() {
  std::vector<std::thread> threads;
  {
    auto state = state_.lock();
    state->stop = true;
    threads.swap(state->threads);
  }
  work_.notify_all();
  for (std::thread& thread : threads) thread.join();
}

bool WaiterPool::run(Job job) {
  auto state = state_.lock();
  // Jobs in the queue have each a parked thread on its way to them; one more needs one more.
  if (state->jobs.size() >= state->parked) {
    if (state->threads.size() >= limits::kWaitersMax) return false;
    try {
      state->threads.emplace_back([this] { serve(); });
    } catch (const std::system_error&) {
      return false;
    }
    ++state->parked;  // counted here, so that the next run() does not claim it as well
  }
  state->jobs.push_back(std::move(job));
  work_.notify_one();
  return true;
}

void WaiterPool::serve() {
  for (;;) {
    Job job;
    {
      auto state = state_.lock();
      state.wait(work_, [](State& now) { return now.stop || !now.jobs.empty(); });
      if (state->jobs.empty()) return;
      job = std::move(state->jobs.front());
      state->jobs.pop_front();
      --state->parked;
      ++state->running;
    }
    job();
    job = nullptr;  // what it holds goes before anyone sees it as ended
    auto state = state_.lock();
    ++state->parked;
    if (--state->running == 0 && state->jobs.empty()) idle_.notify_all();
  }
}

void WaiterPool::wait_idle() {
  auto state = state_.lock();
  state.wait(idle_, [](State& now) { return now.running == 0 && now.jobs.empty(); });
}

std::size_t WaiterPool::threads() { return state_.lock()->threads.size(); }

}  // namespace farcall::server
