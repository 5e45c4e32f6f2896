#include "gpu_server/launch_arguments.h"

#include <cstring>

#include "transport/api/hand.h"
#include "transport/base/limits.h"

namespace farcall::server {
namespace {

namespace hand = api::hand;

bool as_buffer(api::Load& load, std::byte* at, std::uint32_t bytes, LaunchArguments& arguments) {
  auto* size = load.scratch.array<std::size_t>(1);
  arguments.extra = load.scratch.array<void*>(5);
  if (size == nullptr || arguments.extra == nullptr) return false;
  *size = bytes;
  void* list[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, at, CU_LAUNCH_PARAM_BUFFER_SIZE, size,
                  CU_LAUNCH_PARAM_END};
  std::memcpy(arguments.extra, list, sizeof list);
  return true;
}

}  // namespace

Functions::Layout layout_of(Call& call, std::uint64_t id, CUfunction function) {
  if (function == nullptr) return nullptr;
  const bool is_kernel = call.handles.find(Kind::kKernel, id) != nullptr;
  return call.functions.layout(call.driver, id, function, is_kernel);
}

bool load_arguments(api::Load& load, const Functions::Layout& layout, LaunchArguments& arguments) {
  auto [form, count] = load.in.get<hand::LaunchParams>();
  auto bytes = load.in.bytes(count);
  if (load.in.failed() || count > limits::kKernelParamBytesMax) return false;
  // A copy, aligned: kernels' parameters are read in place by drivers.
  auto* copy = static_cast<std::byte*>(load.scratch.take(count));
  if (copy == nullptr) return false;
  if (!bytes.empty()) std::memcpy(copy, bytes.data(), bytes.size());
  if (form == hand::ParamForm::kBuffer) return as_buffer(load, copy, count, arguments);
  if (form != hand::ParamForm::kBySizes) return false;
  if (layout == nullptr) return true;  // refused already
  if (!layout->known) {
    load.refuse(CUDA_ERROR_NOT_SUPPORTED);
    return true;
  }
  if (layout->total_bytes != count) {
    load.refuse(CUDA_ERROR_INVALID_VALUE);
    return true;
  }
  arguments.params = load.scratch.array<void*>(layout->bytes.size() + 1);
  if (arguments.params == nullptr) return false;
  for (std::size_t i = 0; i < layout->bytes.size(); ++i) {
    arguments.params[i] = copy;
    copy += layout->bytes[i];
  }
  return true;
}

}  // namespace farcall::server
