#include "transport/cuda/private_tables.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include "transport/cuda/context_storage.h"

using namespace farcall::cuda;

namespace {

template <class T>
T fake(std::uintptr_t number) {
  return reinterpret_cast<T>(number);
}

const PrivateHost kHost = {
    .primary_context =
        [](CUcontext* context, CUdevice device) {
          *context = fake<CUcontext>(0x100 + static_cast<std::uintptr_t>(device));
          return CUDA_SUCCESS;
        },
    .load_module =
        [](CUmodule* module, const void* image) {
          *module = static_cast<CUmodule>(const_cast<void*>(image));
          return CUDA_SUCCESS;
        },
    .function_count =
        [](unsigned* count, CUmodule) {
          *count = 2;
          return CUDA_SUCCESS;
        },
    .functions =
        [](CUfunction* functions, unsigned, CUmodule module) {
          functions[0] = static_cast<CUfunction>(static_cast<void*>(module));
          functions[1] = fake<CUfunction>(0x99);
          return CUDA_SUCCESS;
        },
    .current_context =
        [](CUcontext* context) {
          *context = fake<CUcontext>(0x77);
          return CUDA_SUCCESS;
        },
    .context_id =
        [](CUcontext context, unsigned long long* id) {
          *id = reinterpret_cast<std::uintptr_t>(context) + 1;
          return CUDA_SUCCESS;
        },
    .context_create =
        [](CUcontext* context, unsigned flags, CUdevice) {
          *context = fake<CUcontext>(flags);
          return CUDA_SUCCESS;
        },
    .driver_version = [] { return 13000; },
    .device_count = [] { return 1; },
    .device_facts = [](int, CUuuid*, int*) {},
};

CUuuid id_of(const std::string& hex) {
  CUuuid id{};
  for (std::size_t i = 0; i < sizeof id.bytes; ++i) {
    id.bytes[i] = static_cast<char>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  }
  return id;
}

const void* const* table_of(const std::string& hex) {
  const CUuuid id = id_of(hex);
  const void* table = nullptr;
  REQUIRE(private_table(kHost, &table, &id) == CUDA_SUCCESS);
  return static_cast<const void* const*>(table);
}

template <class Function>
Function* slot(const void* const* table, int index) {
  return reinterpret_cast<Function*>(const_cast<void*>(table[index]));
}

}  // namespace

TEST_CASE("tables are served by id, with their size in the first slot") {
  const std::pair<const char*, std::uintptr_t> tables[] = {
      {"6bd5fb6c5bf4e74a8987d93912fd9df9", 13 * 8}, {"a094798c2e742e7493f20800200c0a66", 7 * 8},
      {"42d85a8123f6cb478298f6e78a3aecdc", 4 * 8},  {"263e88607cd2614392f6bbd5006dfa7e", 4 * 8},
      {"d4082055bde6704b8d34ba123c66e1f2", 3 * 8},  {"0ca50b8c1004929a89a7d0df10e77286", 2 * 8},
      {"21318c60971432488ca641ff7324c8f2", 95 * 8}, {"6e163fbeb958444d835ce182aff1991e", 64 * 8},
  };
  for (const auto& [hex, bytes] : tables) {
    const void* const* table = table_of(hex);
    CHECK(reinterpret_cast<std::uintptr_t>(table[0]) == bytes);
    for (std::uintptr_t i = 1; i < bytes / 8; ++i) CHECK(table[i] != nullptr);
  }
}

TEST_CASE("a table that must not be served is not, and neither is an unknown one") {
  const void* table = nullptr;
  CUuuid id = id_of("f8cff95121468b4eb9e2fb469e7c0dd9");
  CHECK(private_table(kHost, &table, &id) == CUDA_ERROR_NOT_FOUND);
  id = id_of("00000000000000000000000000000001");
  CHECK(private_table(kHost, &table, &id) == CUDA_ERROR_NOT_FOUND);
  CHECK(table == nullptr);
  CHECK(private_table(kHost, nullptr, &id) == CUDA_ERROR_INVALID_VALUE);
  CHECK(private_table(kHost, &table, nullptr) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("the runtime's interface leads to the driver") {
  const void* const* table = table_of("6bd5fb6c5bf4e74a8987d93912fd9df9");
  CUcontext context = nullptr;
  CHECK(slot<CUresult(CUcontext*, CUdevice)>(table, 2)(&context, 3) == CUDA_SUCCESS);
  CHECK(context == fake<CUcontext>(0x103));
  CUmodule module = nullptr;
  int image = 0;
  CHECK(slot<CUresult(CUmodule*, const void*)>(table, 1)(&module, &image) == CUDA_SUCCESS);
  CHECK(static_cast<void*>(module) == &image);
  module = nullptr;
  slot<CUresult(const void*, CUmodule*, void*, void*, unsigned)>(table, 8)(&image, &module, nullptr,
                                                                           nullptr, 0);
  CHECK(static_cast<void*>(module) == &image);
  CHECK(slot<CUresult()>(table, 3)() == CUDA_ERROR_NOT_SUPPORTED);
}

TEST_CASE(
    "a thread's context and a context's number are told, as cuBLASLt and cuFFT ask for them") {
  CUcontext context = nullptr;
  auto* current = slot<CUresult(CUcontext*)>(table_of("42d85a8123f6cb478298f6e78a3aecdc"), 2);
  CHECK(current(&context) == CUDA_SUCCESS);
  CHECK(context == fake<CUcontext>(0x77));
  auto* number = slot<CUresult(CUcontext, unsigned long long*)>(
      table_of("21318c60971432488ca641ff7324c8f2"), 4);
  unsigned long long id = 0;
  CHECK(number(fake<CUcontext>(0x10), &id) == CUDA_SUCCESS);
  CHECK(id == 0x11);
  CHECK(number(nullptr, &id) == CUDA_SUCCESS);
  CHECK(id == 0x78);
  CHECK(number(nullptr, nullptr) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("the functions of a module are shown one after the other, as cuFFT asks for them") {
  static std::vector<CUfunction> shown;
  shown.clear();
  auto* visit = +[](void* state, CUfunction function, CUmodule module) {
    CHECK(state == &shown);
    CHECK(module == fake<CUmodule>(0x33));
    shown.push_back(function);
  };
  auto* visit_all = slot<int(CUcontext, CUmodule, decltype(visit), void*)>(
      table_of("6e163fbeb958444d835ce182aff1991e"), 7);
  CHECK(visit_all(nullptr, fake<CUmodule>(0x33), visit, &shown) == 1);
  CHECK(shown == std::vector{fake<CUfunction>(0x33), fake<CUfunction>(0x99)});
}

TEST_CASE("every stream has a key, the default one too") {
  const void* const* table = table_of("21318c60971432488ca641ff7324c8f2");
  auto* stream_of = slot<CUresult(CUcontext, CUstream, CUstream*, int)>(table, 51);
  auto* key_of = slot<CUresult(CUcontext, CUstream, unsigned long long*)>(table, 39);
  CUstream mine = nullptr, standard = nullptr;
  CHECK(stream_of(nullptr, fake<CUstream>(0x5000), &mine, 0) == CUDA_SUCCESS);
  CHECK(stream_of(nullptr, nullptr, &standard, 0) == CUDA_SUCCESS);
  unsigned long long first = 0, second = 0;
  CHECK(key_of(nullptr, mine, &first) == CUDA_SUCCESS);
  CHECK(key_of(nullptr, standard, &second) == CUDA_SUCCESS);
  CHECK(first != second);
  CHECK(stream_of(nullptr, mine, nullptr, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(key_of(nullptr, nullptr, &first) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("no profiler wants to see any call, not even those numbered above 1024") {
  const void* const* table = table_of("a094798c2e742e7493f20800200c0a66");
  void* buffer = nullptr;
  std::size_t bytes = 0;
  slot<void(void**, std::size_t*)>(table, 2)(&buffer, &bytes);
  REQUIRE(bytes >= 2048);
  const std::vector<std::byte> zeros(bytes);
  CHECK(std::memcmp(buffer, zeros.data(), bytes) == 0);
  slot<void(void**, std::size_t*)>(table, 6)(&buffer, &bytes);
  CHECK(bytes == 14);
}

TEST_CASE("the self-test fills in this process's facts") {
  const void* const* table = table_of("d4082055bde6704b8d34ba123c66e1f2");
  auto* check = slot<CUresult(unsigned, unsigned long long, unsigned long long*)>(table, 1);
  unsigned long long first[2] = {}, second[2] = {};
  CHECK(check(13000, 1, first) == CUDA_SUCCESS);
  CHECK(first[0] == 0x3341181C03CB675C);
  CHECK(check(13002, 1, first) == CUDA_SUCCESS);
  CHECK(check(13002, 2, second) == CUDA_SUCCESS);
  CHECK(first[0] != second[0]);
}

TEST_CASE("context storage keeps values by context and key, null meaning the current context") {
  const void* const* table = table_of("c693336e1121df11a8c368f355d89593");
  using Destroy = void(CUcontext, void*, void*);
  auto* put = slot<CUresult(CUcontext, void*, void*, Destroy*)>(table, 0);
  auto* remove = slot<CUresult(CUcontext, void*)>(table, 1);
  auto* get = slot<CUresult(void**, CUcontext, void*)>(table, 2);
  int key = 0, value = 0;
  void* found = nullptr;
  CHECK(get(&found, nullptr, &key) == CUDA_ERROR_INVALID_HANDLE);
  CHECK(put(nullptr, &key, &value, nullptr) == CUDA_SUCCESS);
  CHECK(get(&found, fake<CUcontext>(0x77), &key) == CUDA_SUCCESS);
  CHECK(found == &value);
  CHECK(get(&found, fake<CUcontext>(0x78), &key) == CUDA_ERROR_INVALID_HANDLE);
  CHECK(remove(nullptr, &key) == CUDA_SUCCESS);
  CHECK(remove(nullptr, &key) == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("resetting a context runs its destructors, newest first, and they may call back") {
  static std::vector<int> order;
  order.clear();
  const ContextValueDestructor destroy = [](CUcontext context, void* key, void* value) {
    order.push_back(*static_cast<int*>(value));
    void* found = nullptr;
    CHECK(context_storage_get(&found, context, key) == CUDA_ERROR_INVALID_HANDLE);
  };
  int values[3] = {1, 2, 3};
  const auto mine = fake<CUcontext>(0x500), other = fake<CUcontext>(0x501);
  for (int& value : values) context_storage_put(mine, &value, &value, destroy);
  context_storage_put(other, &values[0], &values[0], destroy);
  context_storage_reset(mine);
  CHECK(order == std::vector<int>{3, 2, 1});
  context_storage_reset(mine);
  CHECK(order.size() == 3);
  CHECK(context_storage_delete(other, &values[0]) == CUDA_SUCCESS);
}
