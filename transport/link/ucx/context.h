// What a process has once of UCX: its context, and the rules for calling into it.
//
//   ucp_context_h context = open_context(settings, count, &error);
//   SignalsBlocked quiet;  ucp_worker_create(…);
//
// Threads: any.
#pragma once
#include <signal.h>
#include <ucp/api/ucp.h>

#include <cstddef>

#include "transport/base/status.h"
#include "transport/link/ucx/plugin.h"

namespace farcall::ucx {

// UCX reads its settings from FARCALL_UCX_*, and `settings` go before those. The program's own
// UCX_*, meant for its MPI say, are not looked at.
ucp_context_h open_context(const FarcallUcxSetting* settings, std::size_t count,
                           FarcallUcxError* error);

void set_error(FarcallUcxError* error, Code code, const char* text);
void set_error(FarcallUcxError* error, const char* doing, ucs_status_t status);
// kClosed for what a vanished peer looks like, else kSystem.
Code code_of(ucs_status_t status);

// A worker that sleeps and wakes by its descriptor; null on failure.
ucp_worker_h make_worker(ucp_context_h context, FarcallUcxError* error);
int worker_fd(ucp_worker_h worker);
// True when the worker is armed and had nothing to do since: sleeping on worker_fd is safe.
bool arm(ucp_worker_h worker);

// For a scope: threads started in it will never be given a signal of the program's.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace farcall::ucx
