// Fences between host threads that run blocks: what PTX's fence, ld.acquire and st.release become.
//
//   release_fence();   // what this thread wrote before is seen by whoever sees what it writes next
//
// ThreadSanitizer does not model fences; under it each one is an operation on a shared word, which
// orders at least as much.  Threads: any.  Internal linkage on purpose: included by files that are
// compiled for different instruction sets.
#pragma once

// On the handlers that read and write a kernel's memory: two threads of a kernel that race there do
// what its author asked for, and a real GPU would not object. ThreadSanitizer is to watch the
// engine, so it leaves these accesses alone.
#if defined(__SANITIZE_THREAD__)
#  define FARCALL_KERNEL_MEMORY __attribute__((no_sanitize("thread")))
#else
#  define FARCALL_KERNEL_MEMORY
#endif

namespace farcall::softgpu {

#if defined(__SANITIZE_THREAD__)
inline int g_fence_word = 0;
[[gnu::always_inline]] static inline void full_fence() {
  __atomic_fetch_add(&g_fence_word, 0, __ATOMIC_SEQ_CST);
}
[[gnu::always_inline]] static inline void acquire_fence() { full_fence(); }
[[gnu::always_inline]] static inline void release_fence() { full_fence(); }
#else
[[gnu::always_inline]] static inline void full_fence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
[[gnu::always_inline]] static inline void acquire_fence() {
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
}
[[gnu::always_inline]] static inline void release_fence() {
  __atomic_thread_fence(__ATOMIC_RELEASE);
}
#endif

}  // namespace farcall::softgpu
