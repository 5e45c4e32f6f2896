#include "gpu_server/waiter_pool.h"

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

void WaiterPool::run(Job job) {
  auto state = state_.lock();
  state->jobs.push_back(std::move(job));
  // Jobs in the queue have each a parked thread on its way to them; one more needs one more.
  if (state->jobs.size() > state->parked) {
    state->threads.emplace_back([this] { serve(); });
    ++state->parked;  // counted here, so that the next run() does not claim it as well
  }
  work_.notify_one();
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
