// A program with a large image: a fatbin of 100 MB made here, machine code that is none and a
// little PTX, loaded as a library, and a kernel out of it. Argument: megabytes.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "tests/e2e/programs/expect_driver.h"

const char kPtx[] = R"(
.version 7.0
.target sm_50
.address_size 64
.visible .entry answer(.param .u64 out)
{
  .reg .b32 %r<2>;
  .reg .b64 %rd<2>;
  ld.param.u64 %rd1, [out];
  mov.u32 %r1, 42;
  st.global.u32 [%rd1], %r1;
  ret;
}
)";

// Fatbin container: head of 16 bytes, then entries of a 64-byte head and a payload.
void add_entry(std::vector<unsigned char>& image, unsigned kind, unsigned sm, std::size_t bytes) {
  std::size_t at = image.size();
  image.resize(at + 64 + bytes);
  auto put = [&](std::size_t offset, unsigned value) {
    std::memcpy(&image[at + offset], &value, sizeof value);
  };
  put(0, kind | 0x0101u << 16);
  put(4, 64);
  put(8, static_cast<unsigned>(bytes));
  put(0x1c, sm);
  put(0x28, 0x11);
}

int main(int count, char** words) {
  std::size_t bytes = static_cast<std::size_t>(count > 1 ? std::atoi(words[1]) : 1) << 20;
  DRIVER_OK(cuInit(0));
  CUcontext context;
  DRIVER_OK(cuDevicePrimaryCtxRetain(&context, 0));
  DRIVER_OK(cuCtxSetCurrent(context));
  int major = 0, minor = 0;
  DRIVER_OK(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0));
  DRIVER_OK(cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0));

  std::vector<unsigned char> image(16);
  const unsigned own = static_cast<unsigned>(10 * major + minor);
  for (unsigned sm : {own, 20u}) {  // the second is for no device of today: it need not be sent
    std::size_t at = image.size() + 64;
    add_entry(image, 2, sm, bytes);
    for (std::size_t i = at; i < image.size(); ++i) {
      image[i] = static_cast<unsigned char>("carry-pattern of the image "[(i - at) % 27]);
    }
  }
  std::size_t text = image.size() + 64;
  add_entry(image, 1, 50, (sizeof kPtx + 7) / 8 * 8);
  std::memcpy(&image[text], kPtx, sizeof kPtx);
  const unsigned head[4] = {0xba55ed50, 1 | 16u << 16, static_cast<unsigned>(image.size() - 16), 0};
  std::memcpy(&image[0], head, sizeof head);

  CUlibrary library;
  CUkernel kernel;
  CUdeviceptr out;
  DRIVER_OK(cuLibraryLoadData(&library, image.data(), nullptr, nullptr, 0, nullptr, nullptr, 0));
  DRIVER_OK(cuLibraryGetKernel(&kernel, library, "answer"));
  DRIVER_OK(cuMemAlloc(&out, 4));
  void* arguments[] = {&out};
  DRIVER_OK(cuLaunchKernel(reinterpret_cast<CUfunction>(kernel), 1, 1, 1, 1, 1, 1, 0, nullptr,
                           arguments, nullptr));
  int answer = 0;
  DRIVER_OK(cuMemcpyDtoH(&answer, out, sizeof answer));
  EXPECT(answer == 42);
  DRIVER_OK(cuLibraryUnload(library));
  std::printf("the answer is %d\n", answer);
  return 0;
}
