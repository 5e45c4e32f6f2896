#include "transport/link/ucx/context.h"

#include <cstdio>
#include <mutex>

namespace farcall::ucx {
namespace {

ucp_context_h make_context(const FarcallUcxSetting* settings, std::size_t count,
                           FarcallUcxError* error) {
  ucp_config_t* config = nullptr;
  ucs_status_t status = ucp_config_read("FARCALL", nullptr, &config);
  if (status != UCS_OK) {
    set_error(error, "read UCX's settings (FARCALL_UCX_…)", status);
    return nullptr;
  }
  for (std::size_t i = 0; i < count && status == UCS_OK; ++i) {
    status = ucp_config_modify(config, settings[i].name, settings[i].value);
    if (status != UCS_OK) set_error(error, settings[i].name, status);
  }
  ucp_context_h context = nullptr;
  if (status == UCS_OK) {
    ucp_params_t params{};
    params.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_MT_WORKERS_SHARED;
    params.features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP;
    params.mt_workers_shared = 1;  // each lane has a worker, and threads of its own
    status = ucp_init(&params, config, &context);
    if (status != UCS_OK) set_error(error, "find an RDMA device (ibv_devinfo shows them)", status);
  }
  ucp_config_release(config);
  return status == UCS_OK ? context : nullptr;
}

}  // namespace

ucp_context_h open_context(const FarcallUcxSetting* settings, std::size_t count,
                           FarcallUcxError* error) {
  static std::mutex mutex;
  static ucp_context_h context = nullptr;
  std::lock_guard lock(mutex);
  if (context == nullptr) context = make_context(settings, count, error);
  return context;
}

void set_error(FarcallUcxError* error, Code code, const char* text) {
  error->code = static_cast<int>(code);
  std::snprintf(error->text, sizeof error->text, "%s", text);
}

void set_error(FarcallUcxError* error, const char* doing, ucs_status_t status) {
  error->code = static_cast<int>(code_of(status));
  std::snprintf(error->text, sizeof error->text, "%s: UCX says: %s", doing,
                ucs_status_string(status));
}

Code code_of(ucs_status_t status) {
  switch (status) {
    case UCS_ERR_CONNECTION_RESET:
    case UCS_ERR_ENDPOINT_TIMEOUT:
    case UCS_ERR_CANCELED:
    case UCS_ERR_NOT_CONNECTED:
    case UCS_ERR_REJECTED:
    case UCS_ERR_UNREACHABLE: return Code::kClosed;
    case UCS_ERR_TIMED_OUT: return Code::kTimeout;
    default: return Code::kSystem;
  }
}

ucp_worker_h make_worker(ucp_context_h context, FarcallUcxError* error) {
  ucp_worker_params_t params{};
  params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  params.thread_mode = UCS_THREAD_MODE_SERIALIZED;  // its owner has a lock
  ucp_worker_h worker = nullptr;
  const ucs_status_t status = ucp_worker_create(context, &params, &worker);
  if (status == UCS_OK) return worker;
  set_error(error, "set up an RDMA queue (is `ulimit -l` large enough?)", status);
  return nullptr;
}

int worker_fd(ucp_worker_h worker) {
  int fd = -1;
  return ucp_worker_get_efd(worker, &fd) == UCS_OK ? fd : -1;
}

bool arm(ucp_worker_h worker) {
  if (ucp_worker_arm(worker) != UCS_OK) return false;
  // What completed between the last look and arming raises no event on every device (on Soft-RoCE
  // it does not): look once more, or sleep through it.
  return ucp_worker_progress(worker) == 0;
}

}  // namespace farcall::ucx
