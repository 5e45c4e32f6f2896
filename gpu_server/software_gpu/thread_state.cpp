#include "gpu_server/software_gpu/thread_state.h"

#include <pthread.h>

namespace farcall::softgpu {
namespace {

thread_local ThreadState* t_state = nullptr;

// A key's destructor runs when a thread ends, but not for the main thread at exit().
pthread_key_t state_key() {
  static const pthread_key_t key = [] {
    pthread_key_t made{};
    pthread_key_create(&made, [](void* state) {
      t_state = nullptr;
      delete static_cast<ThreadState*>(state);
    });
    return made;
  }();
  return key;
}

}  // namespace

ThreadState& this_thread() {
  if (t_state == nullptr) {
    t_state = new ThreadState;  // owned by the key
    pthread_setspecific(state_key(), t_state);
  }
  return *t_state;
}

ThreadState::~ThreadState() {
  for (auto& [context, own] : own_streams_) own.context->close_stream(own.stream);
}

void ThreadState::set_current(std::shared_ptr<Context> context) {
  if (!stack_.empty()) stack_.pop_back();
  if (context) stack_.push_back(std::move(context));
}

std::shared_ptr<Context> ThreadState::pop() {
  if (stack_.empty()) return nullptr;
  std::shared_ptr<Context> top = std::move(stack_.back());
  stack_.pop_back();
  return top;
}

std::shared_ptr<Stream> ThreadState::own_stream(Context& context) {
  auto known = own_streams_.find(&context);
  if (known == own_streams_.end()) {
    std::erase_if(own_streams_, [](const auto& entry) { return !entry.second.context->active(); });
  }
  OwnStream& own = own_streams_[&context];
  if (!own.stream || own.generation != context.generation()) {
    own.context = context.shared_from_this();
    own.generation = context.generation();
    own.stream = context.open_stream(StreamKind::kBlocking, 0);
  }
  return own.stream;
}

}  // namespace farcall::softgpu
