// Register frames of calls, kept per worker and function because their constants stay valid.
#include <cstring>

#include "gpu_server/software_gpu/exec/bounds.h"
#include "gpu_server/software_gpu/exec/runtime.h"

namespace farcall::softgpu {

Buffer make_buffer(std::size_t bytes) {
  const std::size_t size = (bytes + 64) / 64 * 64;
  auto* p = static_cast<std::byte*>(::operator new[](size, std::align_val_t{64}));
  std::memset(p, 0, size);
  return Buffer(p);
}

// Null beyond kCallBytesMax.
Frame* open_frame(Warp& w, const FunctionBody& function) {
  Worker& worker = *w.worker;
  if (worker.idle_frames.size() <= function.index) worker.idle_frames.resize(function.index + 1);
  std::vector<Frame*>& idle = worker.idle_frames[function.index];
  Frame* frame = nullptr;
  if (idle.empty()) {
    if (worker.frame_bytes + function.frame_bytes > kCallBytesMax) return nullptr;
    worker.frame_bytes += function.frame_bytes;
    worker.frames.push_back(std::make_unique<Frame>());
    worker.frame_registers.push_back(make_buffer(function.frame_bytes));
    frame = worker.frames.back().get();
    frame->regs = worker.frame_registers.back().get();
    frame->function = &function;
    if (!function.constants.empty()) {
      std::memcpy(frame->regs, function.constants.data(), function.constants.size());
    }
  } else {
    frame = idle.back();
    idle.pop_back();
  }
  fill_specials(frame->regs, function, w, kWarpLevel | kBlockLevel | kLaunchLevel);
  return frame;
}

void leave_frames(Warp& w, Frame* frame, std::uint32_t lanes) {
  while (frame != nullptr && frame->caller != nullptr) {
    Frame* const caller = frame->caller;
    frame->lanes &= ~lanes;
    if (frame->lanes == 0) w.worker->idle_frames[frame->function->index].push_back(frame);
    frame = caller;
  }
}

}  // namespace farcall::softgpu
