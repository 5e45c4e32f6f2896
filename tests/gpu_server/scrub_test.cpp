// Device memory is overwritten before it goes back to the driver: seen from the driver's side.
#include "gpu_server/scrub.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "transport/cuda/wiped_memory.h"

namespace farcall::server {
namespace {

constexpr std::size_t kBytes = 4096;

// A driver whose memory is an array, given out in order; what is freed is looked at on its way.
struct ArrayDriver {
  std::array<std::byte, 16 * kBytes> memory{};
  std::size_t given = 0;
  std::vector<std::size_t> dirty;  // bytes of each freed allocation that were not zero
  std::size_t dirty_at_end = 0;    // of all memory, when its context ended
  CUresult memset = CUDA_SUCCESS;
  bool memset_lies = false;
  bool wipes = false;  // was asked to
  bool can_wipe = false;

  ArrayDriver() { self() = this; }
  ~ArrayDriver() { self() = nullptr; }
  static ArrayDriver*& self() {
    static ArrayDriver* the_one = nullptr;
    return the_one;
  }
  static CUcontext context() { return reinterpret_cast<CUcontext>(0x77); }
  std::size_t not_zero(std::size_t from, std::size_t bytes) const {
    const auto* at = memory.data() + from;
    return static_cast<std::size_t>(
        std::count_if(at, at + bytes, [](std::byte each) { return each != std::byte{0}; }));
  }
  std::size_t at(CUdeviceptr address) const {
    return address - reinterpret_cast<CUdeviceptr>(memory.data());
  }
  api::Driver table();
};

CUresult give(CUdeviceptr* address, std::size_t bytes) {
  ArrayDriver& fake = *ArrayDriver::self();
  *address = reinterpret_cast<CUdeviceptr>(fake.memory.data() + fake.given);
  fake.given += bytes;
  return CUDA_SUCCESS;
}

CUresult take_back(CUdeviceptr address) {
  ArrayDriver& fake = *ArrayDriver::self();
  if (fake.at(address) >= fake.given) return CUDA_ERROR_INVALID_VALUE;
  fake.dirty.push_back(fake.not_zero(fake.at(address), kBytes));
  return CUDA_SUCCESS;
}

CUresult fill(CUdeviceptr address, unsigned char value, std::size_t bytes) {
  ArrayDriver& fake = *ArrayDriver::self();
  if (fake.memset != CUDA_SUCCESS) return fake.memset;
  if (!fake.memset_lies) std::memset(fake.memory.data() + fake.at(address), value, bytes);
  return CUDA_SUCCESS;
}

CUresult end_context() {
  ArrayDriver& fake = *ArrayDriver::self();
  fake.dirty_at_end = fake.not_zero(0, fake.memory.size());
  return CUDA_SUCCESS;
}

const cuda::WipedMemory kWiped = {sizeof(cuda::WipedMemory),
                                  [](bool on) { ArrayDriver::self()->wipes = on; }};

api::Driver ArrayDriver::table() {
  api::Driver driver;
  driver.cuMemAlloc_v2 = give;
  driver.cuMemAllocAsync = [](CUdeviceptr* address, std::size_t bytes, CUstream) {
    return give(address, bytes);
  };
  driver.cuMemFree_v2 = take_back;
  driver.cuMemFreeAsync = [](CUdeviceptr address, CUstream) { return take_back(address); };
  driver.cuMemsetD8_v2 = fill;
  driver.cuMemsetD8Async = [](CUdeviceptr address, unsigned char value, std::size_t bytes,
                              CUstream) { return fill(address, value, bytes); };
  driver.cuMemcpyDtoH_v2 = [](void* to, CUdeviceptr from, std::size_t bytes) {
    std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
    return CUDA_SUCCESS;
  };
  driver.cuCtxSynchronize = [] { return CUDA_SUCCESS; };
  driver.cuCtxGetCurrent = [](CUcontext* context) {
    *context = ArrayDriver::context();
    return CUDA_SUCCESS;
  };
  driver.cuCtxPushCurrent_v2 = [](CUcontext) { return CUDA_SUCCESS; };
  driver.cuCtxPopCurrent_v2 = [](CUcontext*) { return CUDA_SUCCESS; };
  driver.cuCtxDestroy_v2 = [](CUcontext) { return end_context(); };
  driver.cuDevicePrimaryCtxRetain = [](CUcontext* context, CUdevice) {
    *context = ArrayDriver::context();
    return CUDA_SUCCESS;
  };
  driver.cuDevicePrimaryCtxRelease_v2 = [](CUdevice) { return end_context(); };
  driver.cuGetExportTable = [](const void** table, const CUuuid* id) {
    if (!self()->can_wipe || std::memcmp(id, &cuda::kWipedMemoryId, sizeof *id) != 0) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    *table = &kWiped;
    return CUDA_SUCCESS;
  };
  return driver;
}

CUdeviceptr filled(const api::Driver& driver) {
  CUdeviceptr address = 0;
  REQUIRE(driver.cuMemAlloc_v2(&address, kBytes) == CUDA_SUCCESS);
  std::memset(reinterpret_cast<void*>(address), 0x5a, kBytes);
  return address;
}

}  // namespace

TEST_CASE("memory is overwritten before the driver gets it back, pooled memory too") {
  ArrayDriver fake;
  const api::Driver real = fake.table();
  Scrub scrub(real, Scrub::Mode::kFree);
  const CUdeviceptr plain = filled(scrub.driver()), pooled = filled(scrub.driver());
  CHECK(scrub.driver().cuMemFree_v2(plain) == CUDA_SUCCESS);
  CHECK(scrub.driver().cuMemFreeAsync(pooled, nullptr) == CUDA_SUCCESS);
  CHECK(fake.dirty == std::vector<std::size_t>{0, 0});
  CHECK(scrub.outcome().freed == 2);
  CHECK(scrub.outcome().freed_bytes == 2 * kBytes);
  CHECK(scrub.outcome().failures == 0);
}

TEST_CASE("switched off, the driver gets memory as it is") {
  ArrayDriver fake;
  const api::Driver real = fake.table();
  Scrub scrub(real, Scrub::Mode::kOff);
  CHECK(scrub.driver().cuMemFree_v2(filled(scrub.driver())) == CUDA_SUCCESS);
  CHECK(fake.dirty == std::vector<std::size_t>{kBytes});
  CHECK(!fake.wipes);
}

TEST_CASE("what a context still has at its end is overwritten and read back") {
  ArrayDriver fake;
  const api::Driver real = fake.table();
  Scrub scrub(real, Scrub::Mode::kVerify);
  CUcontext context = nullptr;
  REQUIRE(scrub.driver().cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS);
  filled(scrub.driver());
  filled(scrub.driver());
  SUBCASE("a primary context") {
    CHECK(scrub.driver().cuDevicePrimaryCtxRelease_v2(0) == CUDA_SUCCESS);
  }
  SUBCASE("another one") { CHECK(scrub.driver().cuCtxDestroy_v2(context) == CUDA_SUCCESS); }
  CHECK(fake.dirty_at_end == 0);
  CHECK(scrub.outcome().left == 2);
  CHECK(scrub.outcome().verified_bytes == 2 * kBytes);
  CHECK(scrub.outcome().failures == 0);
}

TEST_CASE("memory that does not read back as zeros is a failure") {
  ArrayDriver fake;
  const api::Driver real = fake.table();
  Scrub scrub(real, Scrub::Mode::kVerify);
  filled(scrub.driver());
  fake.memset_lies = true;
  CHECK(scrub.driver().cuCtxDestroy_v2(ArrayDriver::context()) == CUDA_SUCCESS);
  CHECK(scrub.outcome().failures == 1);
  CHECK(scrub.outcome().verified_bytes == 0);
}

TEST_CASE("a context in which a kernel failed is given up all the same, and that is told") {
  ArrayDriver fake;
  const api::Driver real = fake.table();
  Scrub scrub(real, Scrub::Mode::kVerify);
  const CUdeviceptr first = filled(scrub.driver());
  filled(scrub.driver());
  fake.memset = CUDA_ERROR_ILLEGAL_ADDRESS;
  CHECK(scrub.driver().cuMemFree_v2(first) == CUDA_SUCCESS);
  CHECK(scrub.driver().cuCtxDestroy_v2(ArrayDriver::context()) == CUDA_SUCCESS);
  CHECK(scrub.outcome().failures == 2);
  CHECK(scrub.outcome().to_text().find("2 failures") != std::string::npos);
}

TEST_CASE("memory that the driver does not take back stays known") {
  ArrayDriver fake;
  api::Driver real = fake.table();
  real.cuMemFree_v2 = [](CUdeviceptr) { return CUDA_ERROR_INVALID_CONTEXT; };
  Scrub scrub(real, Scrub::Mode::kVerify);
  const CUdeviceptr address = filled(scrub.driver());
  CHECK(scrub.driver().cuMemFree_v2(address) == CUDA_ERROR_INVALID_CONTEXT);
  std::memset(reinterpret_cast<void*>(address), 0x5a, kBytes);
  CHECK(scrub.driver().cuCtxDestroy_v2(ArrayDriver::context()) == CUDA_SUCCESS);
  CHECK(fake.dirty_at_end == 0);
}

TEST_CASE("a driver that overwrites what is freed is told to, and left to do it") {
  ArrayDriver fake;
  fake.can_wipe = true;
  const api::Driver real = fake.table();
  Scrub scrub(real, Scrub::Mode::kVerify);
  CHECK(fake.wipes);
  CHECK(scrub.driver().cuMemFree_v2(filled(scrub.driver())) == CUDA_SUCCESS);
  CHECK(fake.dirty == std::vector<std::size_t>{kBytes});
  CHECK(scrub.outcome().by_driver);
  filled(scrub.driver());
  CHECK(scrub.driver().cuCtxDestroy_v2(ArrayDriver::context()) == CUDA_SUCCESS);
  CHECK(scrub.outcome().left == 1);  // the one that was freed is not touched again
}

}  // namespace farcall::server
