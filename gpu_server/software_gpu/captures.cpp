#include "gpu_server/software_gpu/captures.h"

#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/thread_state.h"

namespace farcall::softgpu {
namespace {

CUresult spoil(const std::vector<std::shared_ptr<Capture>>& captures, CUresult result) {
  for (const auto& capture : captures) capture->invalidate();
  return captures.empty() ? CUDA_SUCCESS : result;
}

}  // namespace

void Captures::begun(std::shared_ptr<Capture> capture) {
  auto all = all_.lock();
  all->push_back(std::move(capture));
  count_.store(all->size(), std::memory_order_release);
}

void Captures::ended(const Capture& capture) {
  auto all = all_.lock();
  std::erase_if(*all, [&](const auto& each) { return each.get() == &capture; });
  count_.store(all->size(), std::memory_order_release);
}

std::vector<std::shared_ptr<Capture>> Captures::against_this_thread() {
  std::vector<std::shared_ptr<Capture>> found;
  const CUstreamCaptureMode mine = this_thread().capture_mode;
  if (!any() || mine == CU_STREAM_CAPTURE_MODE_RELAXED) return found;
  auto all = all_.lock();
  for (const auto& capture : *all) {
    const bool is_own = capture->is_of_this_thread();
    const bool forbids = is_own ? capture->mode() != CU_STREAM_CAPTURE_MODE_RELAXED
                                : mine == CU_STREAM_CAPTURE_MODE_GLOBAL &&
                                      capture->mode() == CU_STREAM_CAPTURE_MODE_GLOBAL;
    if (forbids) found.push_back(capture);
  }
  return found;
}

std::vector<std::shared_ptr<Capture>> Captures::of_context(Context& context, bool blocking) {
  if (!any()) return {};
  return context.captures(blocking);
}

CUresult forbid_unsafe() {
  return spoil(driver().captures.against_this_thread(), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
}

CUresult judge_legacy(Stream& stream) {
  if (stream.kind() != StreamKind::kLegacy) return CUDA_SUCCESS;
  const bool is_free = driver().captures.of_context(stream.context(), true).empty();
  return is_free ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
}

CUresult forbid_legacy(Stream& stream) {
  if (stream.kind() != StreamKind::kLegacy) return CUDA_SUCCESS;
  return spoil(driver().captures.of_context(stream.context(), true),
               CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
}

CUresult forbid_synchronous(Stream& stream) {
  if (CUresult no = forbid_legacy(stream)) return no;
  return forbid_unsafe();
}

CUresult forbid_waiting(Context& context, bool spoils) {
  const auto captures = driver().captures.of_context(context, false);
  if (spoils) return spoil(captures, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  return captures.empty() ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

}  // namespace farcall::softgpu
