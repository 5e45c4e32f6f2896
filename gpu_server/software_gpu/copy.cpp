#include "gpu_server/software_gpu/copy.h"

#include <cstring>
#include <vector>

#include "gpu_server/software_gpu/capture.h"
#include "gpu_server/software_gpu/checks.h"
#include "gpu_server/software_gpu/driver.h"
#include "gpu_server/software_gpu/graph_work.h"
#include "gpu_server/software_gpu/memory_calls.h"

namespace farcall::softgpu {
namespace {

// Pageable host bytes up to here are taken along with an asynchronous copy; a longer copy from
// pageable memory is done before the call returns. CUDA allows both.
constexpr std::size_t kSnapshotBytesMax = 64 * 1024;
// Work on more bytes than this takes longer than waking a stream's thread for it.
constexpr std::uint64_t kBriefBytesMax = 64 * 1024;

Effort effort_for(std::uint64_t width, std::uint64_t height, std::uint64_t depth) {
  const std::uint64_t bytes = reach(reach(width, height, 0), depth, 0);
  return bytes <= kBriefBytesMax ? Effort::kBrief : Effort::kLong;
}

void move_bytes(const CopyPlan& plan) {
  for (std::size_t z = 0; z < plan.depth; ++z) {
    for (std::size_t y = 0; y < plan.height; ++y) {
      std::memmove(reinterpret_cast<void*>(plan.to.address + z * plan.to.slice + y * plan.to.pitch),
                   reinterpret_cast<const void*>(plan.from.address + z * plan.from.slice +
                                                 y * plan.from.pitch),
                   plan.width);
      note_copied(plan.to.address + z * plan.to.slice + y * plan.to.pitch,
                  plan.from.address + z * plan.from.slice + y * plan.from.pitch, plan.width);
    }
  }
}

void fill(const FillPlan& plan) {
  for (std::size_t y = 0; y < plan.height; ++y) {
    auto* row = reinterpret_cast<std::byte*>(plan.address + y * plan.pitch);
    note_written(plan.address + y * plan.pitch, plan.width * plan.element_bytes);
    if (plan.element_bytes == 1) {
      std::memset(row, static_cast<int>(plan.value), plan.width);
      continue;
    }
    for (std::size_t x = 0; x < plan.width; ++x) {
      std::memcpy(row + x * plan.element_bytes, &plan.value, plan.element_bytes);
    }
  }
}

Work work_of(const CopyPlan& plan) {
  return {[plan] { move_bytes(plan); }, false, effort_for(plan.width, plan.height, plan.depth)};
}

Work work_of(const FillPlan& plan) {
  return {[plan] { fill(plan); }, false,
          effort_for(reach(plan.width, plan.element_bytes, 0), plan.height, 1)};
}

// Says whether `end` may be what its place claims; kEither becomes kHost or kDevice.
bool settle(CopyEnd& end, const CopyPlan& plan) {
  if (end.address == 0) return false;
  const bool known = is_device_range(end.address, plan.span(end));
  if (end.place == CopyEnd::Place::kDevice) return known;
  if (end.place == CopyEnd::Place::kEither) {
    // An address inside device memory means that memory, and must not leave it.
    if (!known && is_device_range(end.address, 1)) return false;
    end.place = known ? CopyEnd::Place::kDevice : CopyEnd::Place::kHost;
  }
  return true;
}

bool is_fill_valid(const FillPlan& plan) {
  const std::uint64_t row_bytes = reach(plan.width, plan.element_bytes, 0);
  if (plan.element_bytes == 0 || plan.address % plan.element_bytes != 0) return false;
  if (plan.height > 1 && plan.pitch < row_bytes) return false;
  return is_device_range(plan.address, reach(plan.height - 1, plan.pitch, row_bytes));
}

// Host memory that may change as soon as the call returns.
bool is_pageable(const CopyEnd& end, const CopyPlan& plan) {
  return end.place == CopyEnd::Place::kHost && !is_device_range(end.address, plan.span(end));
}

}  // namespace

CUresult run_copy(const CopyPlan& wanted, CUstream handle, When when) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(handle, &stream)) return failed;
  if (wanted.width == 0 || wanted.height == 0 || wanted.depth == 0) return CUDA_SUCCESS;
  CopyPlan plan = wanted;
  if (!settle(plan.from, plan) || !settle(plan.to, plan)) return CUDA_ERROR_INVALID_VALUE;
  if (capturing(*stream)) {
    if (when == When::kNow) return refuse_in_capture(*stream);
    return queue(*stream, captured_work(plan, work_of(plan)), CU_GRAPH_NODE_TYPE_MEMCPY);
  }
  const bool is_now = when == When::kNow;
  if (CUresult no = is_now ? forbid_synchronous(*stream) : forbid_legacy(*stream)) return no;
  if (when == When::kQueued && !is_pageable(plan.to, plan)) {
    if (!is_pageable(plan.from, plan)) {
      return queue(*stream, work_of(plan), CU_GRAPH_NODE_TYPE_MEMCPY);
    }
    const bool flat = plan.depth == 1 && plan.height == 1;
    if (flat && plan.width <= kSnapshotBytesMax && !stream->context().idle(*stream)) {
      const auto* first = reinterpret_cast<const std::byte*>(plan.from.address);
      std::vector<std::byte> bytes(first, first + plan.width);
      auto deliver = [plan, bytes = std::move(bytes)] {
        std::memcpy(reinterpret_cast<void*>(plan.to.address), bytes.data(), bytes.size());
        note_written(plan.to.address, bytes.size());
      };
      return queue(*stream, {std::move(deliver)}, CU_GRAPH_NODE_TYPE_MEMCPY);
    }
  }
  if (CUresult failed = wait_turn(*stream)) return failed;
  move_bytes(plan);
  return CUDA_SUCCESS;
}

CUresult copy_bytes(CopyEnd::Place to_place, std::uint64_t to, CopyEnd::Place from_place,
                    std::uint64_t from, std::size_t bytes, CUstream stream, When when) {
  CopyPlan plan;
  plan.from = {from, 0, 0, from_place};
  plan.to = {to, 0, 0, to_place};
  plan.width = bytes;
  return run_copy(plan, stream, when);
}

CUresult run_fill(const FillPlan& plan, CUstream handle, When when) {
  std::shared_ptr<Stream> stream;
  if (CUresult failed = find_stream(handle, &stream)) return failed;
  if (plan.width == 0 || plan.height == 0) return CUDA_SUCCESS;
  if (!is_fill_valid(plan)) return CUDA_ERROR_INVALID_VALUE;
  if (capturing(*stream)) {
    if (when == When::kNow) return refuse_in_capture(*stream);
    return queue(*stream, captured_work(plan, work_of(plan)), CU_GRAPH_NODE_TYPE_MEMSET);
  }
  if (when == When::kQueued) return queue(*stream, work_of(plan), CU_GRAPH_NODE_TYPE_MEMSET);
  if (CUresult no = forbid_synchronous(*stream)) return no;
  if (CUresult failed = wait_turn(*stream)) return failed;
  fill(plan);
  return CUDA_SUCCESS;
}

CUresult copy_work(const CopyPlan& wanted, Work* work) {
  CopyPlan plan = wanted;
  if (plan.width == 0 || plan.height == 0 || plan.depth == 0) return CUDA_ERROR_INVALID_VALUE;
  if (!settle(plan.from, plan) || !settle(plan.to, plan)) return CUDA_ERROR_INVALID_VALUE;
  *work = work_of(plan);
  return CUDA_SUCCESS;
}

CUresult fill_work(const FillPlan& plan, Work* work) {
  if (plan.width == 0 || plan.height == 0 || !is_fill_valid(plan)) return CUDA_ERROR_INVALID_VALUE;
  *work = work_of(plan);
  return CUDA_SUCCESS;
}

CUresult array_end(CUarray handle, std::size_t x, std::size_t y, std::size_t z, CopyEnd* end) {
  if (handle == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto array = driver().arrays.find(handle);
  if (!array) return CUDA_ERROR_INVALID_HANDLE;
  end->pitch = array->row_bytes();
  end->slice = array->row_bytes() * array->rows();
  end->address = array->base + z * end->slice + y * end->pitch + x;
  end->place = CopyEnd::Place::kDevice;
  return CUDA_SUCCESS;
}

namespace {

struct EndFacts {
  CUmemorytype type;
  const void* host;
  CUdeviceptr device;
  CUarray array;
  std::size_t pitch, height, x, y, z;
};

CUresult end_from(const EndFacts& facts, const CopyPlan& plan, CopyEnd* end) {
  const std::size_t width = plan.width;
  if (facts.type == CU_MEMORYTYPE_ARRAY) {
    if (facts.array == nullptr) return CUDA_ERROR_INVALID_VALUE;
    auto array = driver().arrays.find(facts.array);
    if (!array) return CUDA_ERROR_INVALID_HANDLE;
    if (facts.x > array->row_bytes() || width > array->row_bytes() - facts.x ||
        facts.y > array->rows() || plan.height > array->rows() - facts.y ||
        facts.z > array->slices() || plan.depth > array->slices() - facts.z) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    return array_end(facts.array, facts.x, facts.y, facts.z, end);
  }
  const bool host = facts.type == CU_MEMORYTYPE_HOST;
  if (!host && facts.type != CU_MEMORYTYPE_DEVICE && facts.type != CU_MEMORYTYPE_UNIFIED) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const std::uint64_t base = host ? reinterpret_cast<std::uint64_t>(facts.host) : facts.device;
  if (base == 0) return CUDA_ERROR_INVALID_VALUE;
  // "srcPitch must be greater than or equal to WidthInBytes + srcXInBytes"
  const bool is_wide = width > SIZE_MAX - facts.x || facts.pitch < width + facts.x;
  if (facts.pitch != 0 && is_wide && plan.height > 1) return CUDA_ERROR_INVALID_VALUE;
  end->pitch = facts.pitch != 0 ? facts.pitch : width;
  end->slice = end->pitch * facts.height;
  end->address = base + facts.z * end->slice + facts.y * end->pitch + facts.x;
  end->place = host                                 ? CopyEnd::Place::kHost
               : facts.type == CU_MEMORYTYPE_DEVICE ? CopyEnd::Place::kDevice
                                                    : CopyEnd::Place::kEither;
  return CUDA_SUCCESS;
}

}  // namespace

CUresult plan_from(const CUDA_MEMCPY3D& wanted, CopyPlan* plan) {
  plan->width = wanted.WidthInBytes;
  plan->height = wanted.Height;
  plan->depth = wanted.Depth;
  const EndFacts from{wanted.srcMemoryType, wanted.srcHost,  wanted.srcDevice,
                      wanted.srcArray,      wanted.srcPitch, wanted.srcHeight,
                      wanted.srcXInBytes,   wanted.srcY,     wanted.srcZ};
  const EndFacts to{wanted.dstMemoryType, wanted.dstHost,  wanted.dstDevice,
                    wanted.dstArray,      wanted.dstPitch, wanted.dstHeight,
                    wanted.dstXInBytes,   wanted.dstY,     wanted.dstZ};
  if (CUresult failed = end_from(from, *plan, &plan->from)) return failed;
  return end_from(to, *plan, &plan->to);
}

CUresult plan_from(const CUDA_MEMCPY2D& wanted, CopyPlan* plan) {
  plan->width = wanted.WidthInBytes;
  plan->height = wanted.Height;
  const EndFacts from{wanted.srcMemoryType, wanted.srcHost,  wanted.srcDevice,
                      wanted.srcArray,      wanted.srcPitch, 0,
                      wanted.srcXInBytes,   wanted.srcY,     0};
  const EndFacts to{wanted.dstMemoryType, wanted.dstHost,  wanted.dstDevice,
                    wanted.dstArray,      wanted.dstPitch, 0,
                    wanted.dstXInBytes,   wanted.dstY,     0};
  if (CUresult failed = end_from(from, *plan, &plan->from)) return failed;
  return end_from(to, *plan, &plan->to);
}

}  // namespace farcall::softgpu
