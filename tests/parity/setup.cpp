#include "tests/parity/setup.h"

#include <algorithm>

namespace parity {

const char* const kPtx = R"(
.version 7.0
.target sm_52
.address_size 64
.visible .global .align 4 .u32 counter = 7;
.visible .global .align 4 .b8 table[256];
.visible .const .align 4 .b8 fixed[64];
.extern .func __assertfail(.param .b64 m, .param .b64 f, .param .b32 l, .param .b64 n,
                           .param .b64 s);
.global .align 1 .b8 text[5] = {116, 101, 120, 116, 0};

.visible .entry fill(.param .u64 p, .param .u32 value, .param .u32 count)
{
  .reg .pred %q;
  .reg .b32 %r<6>;
  .reg .b64 %d<4>;
  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %ntid.x;
  mov.u32 %r3, %tid.x;
  mad.lo.u32 %r4, %r1, %r2, %r3;
  ld.param.u32 %r5, [count];
  setp.ge.u32 %q, %r4, %r5;
  @%q bra done;
  ld.param.u64 %d1, [p];
  mul.wide.u32 %d2, %r4, 4;
  add.u64 %d3, %d1, %d2;
  ld.param.u32 %r5, [value];
  st.global.u32 [%d3], %r5;
done:
  ret;
}
.visible .entry add(.param .u64 p, .param .u32 value)
{
  .reg .b32 %r<3>;
  .reg .b64 %d<2>;
  ld.param.u64 %d1, [p];
  ld.param.u32 %r1, [value];
  atom.global.add.u32 %r2, [%d1], %r1;
  ret;
}
.visible .entry fault(.param .u64 p)
{
  .reg .b32 %r<2>;
  .reg .b64 %d<2>;
  ld.param.u64 %d1, [p];
  mov.u32 %r1, 1;
  st.global.u32 [%d1], %r1;
  ret;
}
.visible .entry trap()
{
  trap;
  ret;
}
.visible .entry fail_assert()
{
  .reg .b64 %d<3>;
  mov.u64 %d1, text;
  cvta.global.u64 %d2, %d1;
  {
    .param .b64 a0;
    .param .b64 a1;
    .param .b32 a2;
    .param .b64 a3;
    .param .b64 a4;
    st.param.b64 [a0], %d2;
    st.param.b64 [a1], %d2;
    st.param.b32 [a2], 12;
    st.param.b64 [a3], %d2;
    st.param.b64 [a4], 1;
    call.uni __assertfail, (a0, a1, a2, a3, a4);
  }
  ret;
}
.visible .entry empty()
{
  ret;
}
.visible .entry sized(.param .u64 p) .maxntid 64, 1, 1
{
  .reg .b32 %r<4>;
  .reg .b64 %d<2>;
  .shared .align 4 .b8 room[1024];
  mov.u32 %r1, %tid.x;
  mov.u32 %r2, room;
  st.shared.u32 [%r2], %r1;
  bar.sync 0;
  ld.shared.u32 %r3, [%r2+4];
  ld.param.u64 %d1, [p];
  st.global.u32 [%d1], %r3;
  ret;
}
)";

void need(CUresult code, const char* what) {
  if (code != CUDA_SUCCESS) stop(std::string(what) + " gave " + name_of(code));
}

Device::Device() {
  need(CU(cuInit)(0), "cuInit");
  need(CU(cuDeviceGet)(&device, 0), "cuDeviceGet");
}

Primary::Primary() {
  need(CU(cuDevicePrimaryCtxRetain)(&context, device), "cuDevicePrimaryCtxRetain");
  need(CU(cuCtxSetCurrent)(context), "cuCtxSetCurrent");
}

CUcontext new_context(CUdevice device) {
  CUcontext made = nullptr;
  need(CU(cuCtxCreate_v2)(&made, 0, device), "cuCtxCreate_v2");
  return made;
}

Kernels::Kernels() { need(CU(cuModuleLoadData)(&module, kPtx), "cuModuleLoadData"); }

CUfunction Kernels::get(const char* name) const {
  CUfunction found = nullptr;
  need(CU(cuModuleGetFunction)(&found, module, name), name);
  return found;
}

CUresult fill(CUfunction kernel, CUdeviceptr p, int value, int count, CUstream stream) {
  void* parameters[] = {&p, &value, &count};
  const auto blocks = static_cast<unsigned>((count + 63) / 64);
  return CU(cuLaunchKernel)(kernel, blocks, 1, 1, 64, 1, 1, 0, stream, parameters, nullptr);
}

CUdeviceptr allocate(size_t bytes) {
  CUdeviceptr made = 0;
  need(CU(cuMemAlloc_v2)(&made, bytes), "cuMemAlloc_v2");
  return made;
}

CUstream new_stream(unsigned flags) {
  CUstream made = nullptr;
  need(CU(cuStreamCreate)(&made, flags), "cuStreamCreate");
  return made;
}

CUevent new_event(unsigned flags) {
  CUevent made = nullptr;
  need(CU(cuEventCreate)(&made, flags), "cuEventCreate");
  return made;
}

std::vector<int> read_back(CUdeviceptr p, size_t count) {
  std::vector<int> values(count, -1);
  need(CU(cuMemcpyDtoH_v2)(values.data(), p, count * sizeof(int)), "cuMemcpyDtoH_v2");
  return values;
}

std::string text(const std::vector<int>& values) {
  const bool same =
      std::all_of(values.begin(), values.end(), [&](int value) { return value == values.front(); });
  if (values.size() > 4 && same) {
    return std::to_string(values.front()) + " x " + std::to_string(values.size());
  }
  std::string all;
  for (int value : values) all += (all.empty() ? "" : " ") + std::to_string(value);
  return all;
}

Held::Held(CUstream stream) : open_(new std::atomic<bool>(false)) {
  const CUhostFn wait = [](void* open) { static_cast<std::atomic<bool>*>(open)->wait(false); };
  need(CU(cuLaunchHostFunc)(stream, wait, open_), "cuLaunchHostFunc");
}

void Held::release() {
  open_->store(true);
  open_->notify_all();
}

}  // namespace parity
