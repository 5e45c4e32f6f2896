#include "client_shim/thread_state.h"

#include <pthread.h>

#include <array>
#include <memory>

#include "transport/base/limits.h"

namespace farcall::shim {
namespace {

struct Held {
  ThreadState first;  // for the only server, or the first one
  std::array<std::unique_ptr<ThreadState>, limits::kServersMax - 1> others;
  void (*at_exit)(ThreadState&) = nullptr;

  ThreadState& of(unsigned server) {
    if (server == 0) return first;
    auto& other = others[server - 1];
    if (other == nullptr) other = std::make_unique<ThreadState>();
    return *other;
  }
};
thread_local Held* t_held = nullptr;

// A pthread key, because its destructor does not run for the main thread at exit, where a
// thread_local's would, before cudart's last calls.
pthread_key_t exit_key() {
  static const pthread_key_t key = [] {
    pthread_key_t made{};
    auto ended = [](void* pointer) {
      std::unique_ptr<Held> held(static_cast<Held*>(pointer));
      t_held = nullptr;
      held->at_exit(held->first);
      for (auto& other : held->others) {
        if (other != nullptr) held->at_exit(*other);
      }
    };
    ::pthread_key_create(&made, ended);
    return made;
  }();
  return key;
}

}  // namespace

void ThreadState::set_current(CUcontext context) {
  if (!stack.empty()) stack.pop_back();
  if (context != nullptr) stack.push_back(context);
}

std::uint32_t ThreadNumbers::take() {
  auto state = state_.lock();
  std::uint32_t number = 0;
  if (!state->free.empty()) {
    number = state->free.back();
    state->free.pop_back();
  } else if (state->used < limits::kClientThreadsMax) {
    number = ++state->used;
  }
  if (number != 0) live_.fetch_add(1, std::memory_order_relaxed);
  return number;
}

void ThreadNumbers::give_back(std::uint32_t number, bool counts) {
  if (number == 0) return;
  state_.lock()->free.push_back(number);
  if (counts) live_.fetch_sub(1, std::memory_order_relaxed);
}

ThreadState& thread_state(std::uint64_t generation, ThreadNumbers& numbers,
                          void (*at_exit)(ThreadState&), unsigned server) {
  if (t_held == nullptr) {
    t_held = std::make_unique<Held>().release();
    t_held->at_exit = at_exit;
    ::pthread_setspecific(exit_key(), t_held);
  }
  ThreadState& state = t_held->of(server);
  if (state.generation != generation) {
    state = ThreadState{};
    state.generation = generation;
  }
  // A thread that came when all numbers were taken gets one as soon as another has ended.
  if (state.number == 0) state.number = numbers.take();
  return state;
}

}  // namespace farcall::shim
