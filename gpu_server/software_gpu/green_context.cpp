#include "gpu_server/software_gpu/green_context.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "gpu_server/software_gpu/device.h"
#include "gpu_server/software_gpu/driver.h"

namespace farcall::softgpu {
namespace {

constexpr std::uint32_t kMark = 0x47524e43;
constexpr unsigned kFlagsKnown = CU_DEV_SM_RESOURCE_SPLIT_IGNORE_SM_COSCHEDULING |
                                 CU_DEV_SM_RESOURCE_SPLIT_MAX_POTENTIAL_CLUSTER_SIZE;

// What the padding of a resource holds.
struct Origin {
  std::uint32_t mark = kMark;
  std::int32_t ordinal = 0;
  std::uint64_t split = 0;  // which call of split() made it; 0: it is whole
};
static_assert(sizeof(Origin) <= sizeof(CUdevResource::_internal_padding));

CUdevResource resource(const Device& device, std::uint64_t split_number, unsigned count) {
  CUdevResource made{};
  if (count == 0) return made;  // CU_DEV_RESOURCE_TYPE_INVALID
  const Origin origin{kMark, device.ordinal(), split_number};
  made.type = CU_DEV_RESOURCE_TYPE_SM;
  std::memcpy(made._internal_padding, &origin, sizeof(origin));
  // Compute capability 9.0 splits by 8, 8.x by 4; a device too small for that by single ones.
  const unsigned by = device.config().cc_major >= 9 ? 8 : device.config().cc_major == 8 ? 4 : 2;
  const bool is_small = static_cast<unsigned>(device.processors()) < 2 * by;
  made.sm.smCount = count;
  made.sm.minSmPartitionSize = is_small ? 1 : by;
  made.sm.smCoscheduledAlignment = is_small ? 1 : (by == 4 ? 2 : by);
  return made;
}

CUresult read_origin(const CUdevResource& from, Origin* origin, Device** device) {
  if (from.type != CU_DEV_RESOURCE_TYPE_SM) return CUDA_ERROR_INVALID_RESOURCE_TYPE;
  std::memcpy(origin, from._internal_padding, sizeof(*origin));
  *device = origin->mark == kMark ? driver().device(origin->ordinal) : nullptr;
  if (*device == nullptr) return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
  const auto all = static_cast<unsigned>((*device)->processors());
  if (from.sm.smCount == 0 || from.sm.smCount > all) {
    return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
  }
  return CUDA_SUCCESS;
}

std::uint64_t next_split() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

std::shared_ptr<Context> make_view(Device& device) {
  device.retain_primary();
  auto view = std::make_shared<Context>(device, 0U, false, &device.primary());
  view->activate();
  return view;
}

}  // namespace

GreenContext::GreenContext(Device& of, const CUdevResource& processors)
    : device(of), sm(processors), view(make_view(of)) {}

GreenContext::~GreenContext() { device.release_primary(); }

CUdevResource whole_device(const Device& device) {
  return resource(device, 0, static_cast<unsigned>(device.processors()));
}

CUresult split(const Split& how) {
  Origin origin;
  Device* device = nullptr;
  if (CUresult bad = read_origin(*how.input, &origin, &device); bad != CUDA_SUCCESS) return bad;
  const CUdevSmResource& sm = how.input->sm;
  if ((how.flags & ~kFlagsKnown) != 0 || how.least > sm.smCount) return CUDA_ERROR_INVALID_VALUE;
  if (origin.split != 0) return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
  const bool is_fine = (how.flags & CU_DEV_SM_RESOURCE_SPLIT_IGNORE_SM_COSCHEDULING) != 0;
  const CUdevSmResource rules = whole_device(*device).sm;
  const unsigned by = is_fine ? 1 : std::max(rules.smCoscheduledAlignment, 1U);
  const unsigned least = std::max({how.least, is_fine ? 1U : rules.minSmPartitionSize, 1U});
  const unsigned each = (least + by - 1) / by * by;
  const unsigned possible = sm.smCount / each;
  const unsigned groups = how.result == nullptr ? possible : std::min(*how.groups, possible);
  if (possible == 0) return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
  const std::uint64_t number = next_split();
  for (unsigned i = 0; how.result != nullptr && i < groups; ++i) {
    how.result[i] = resource(*device, number, each);
  }
  if (how.remaining != nullptr) {
    *how.remaining = resource(*device, number, sm.smCount - groups * each);
  }
  *how.groups = groups;
  return CUDA_SUCCESS;
}

CUresult describe(const std::vector<CUdevResource>& parts, ResourceDescription* description) {
  if (parts.empty()) return CUDA_ERROR_INVALID_VALUE;
  Origin first;
  Device* device = nullptr;
  unsigned count = 0;
  for (const CUdevResource& part : parts) {
    Origin origin;
    if (CUresult bad = read_origin(part, &origin, &device); bad != CUDA_SUCCESS) return bad;
    if (&part == &parts.front()) first = origin;
    const bool fits = origin.ordinal == first.ordinal && origin.split == first.split &&
                      (origin.split != 0 || parts.size() == 1);
    if (!fits) return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
    count += part.sm.smCount;
  }
  if (count > static_cast<unsigned>(device->processors())) {
    return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
  }
  // The resources of a green context may be split again.
  *description = {first.ordinal, resource(*device, 0, count)};
  return CUDA_SUCCESS;
}

}  // namespace farcall::softgpu
