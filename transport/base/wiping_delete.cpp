// The heap of a worker: what is freed is overwritten first, for it may have been a tenant's. Part
// of the programs that hold tenants' bytes, not of the library.
//
// Large blocks go back to the kernel when they are freed, which does not clear them, and the end of
// the process (wiped_end.h) does not reach them any more. Blocks of C libraries, by malloc, are
// overwritten there, unless they were so large that they have gone back.
#include <malloc.h>

#include <cstddef>
#include <cstdlib>
#include <new>

#include "transport/base/secure_arena.h"

namespace {

void wipe_and_free(void* at) noexcept {
  if (at == nullptr) return;
  farcall::wipe(at, ::malloc_usable_size(at));
  std::free(at);
}

}  // namespace

void operator delete(void* at) noexcept { wipe_and_free(at); }
void operator delete[](void* at) noexcept { wipe_and_free(at); }
void operator delete(void* at, std::size_t) noexcept { wipe_and_free(at); }
void operator delete[](void* at, std::size_t) noexcept { wipe_and_free(at); }
void operator delete(void* at, std::align_val_t) noexcept { wipe_and_free(at); }
void operator delete[](void* at, std::align_val_t) noexcept { wipe_and_free(at); }
void operator delete(void* at, std::size_t, std::align_val_t) noexcept { wipe_and_free(at); }
void operator delete[](void* at, std::size_t, std::align_val_t) noexcept { wipe_and_free(at); }
void operator delete(void* at, const std::nothrow_t&) noexcept { wipe_and_free(at); }
void operator delete[](void* at, const std::nothrow_t&) noexcept { wipe_and_free(at); }
