// Modules: images that are none, names that are none, the JIT's options, linking.
#include <cstring>
#include <vector>

#include "tests/parity/setup.h"

using namespace parity;

BODY(module_wrong_images) {
  Primary primary;
  CUmodule module = nullptr;
  std::vector<unsigned char> zeros(4096, 0);
  std::vector<unsigned char> elf = zeros;
  std::memcpy(elf.data(),
              "\x7f"
              "ELF\x02\x01\x01",
              7);
  std::vector<unsigned char> fatbin = zeros;
  const unsigned fatbin_head[] = {0xba55ed50, 0x00100001, 64, 0};
  std::memcpy(fatbin.data(), fatbin_head, sizeof fatbin_head);
  EXPECT(CUDA_ERROR_INVALID_VALUE, "cuda.h, cuModuleLoadData", cuModuleLoadData, nullptr, kPtx);
  CALL(cuModuleLoadData, &module, nullptr);
  CALL(cuModuleLoadData, &module, zeros.data());
  CALL(cuModuleLoadData, &module, "no image at all");
  CALL(cuModuleLoadData, &module, elf.data());
  CALL(cuModuleLoadData, &module, fatbin.data());
  CALL(cuModuleLoadFatBinary, &module, nullptr);
  CALL(cuModuleLoadFatBinary, &module, zeros.data());
  const char* const bad = ".version 7.0\n.target sm_52\n.address_size 64\nnonsense";
  EXPECT(CUDA_ERROR_INVALID_PTX, "cuda.h, CUresult", cuModuleLoadData, &module, bad);
  const char* const late = ".version 99.0\n.target sm_52\n.address_size 64\n";
  EXPECT(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "cuda.h, CUresult", cuModuleLoadData, &module, late);
  const char* const target = ".version 7.0\n.target sm_999\n.address_size 64\n";
  CALL(cuModuleLoadData, &module, target);
  const char* const none = ".version 7.0\n.target sm_52\n.address_size 64\n";
  CALL(cuModuleLoadData, &module, none);
  EXPECT(CUDA_ERROR_FILE_NOT_FOUND, "cuda.h, cuModuleLoad", cuModuleLoad, &module, "/no/such/file");
  CALL(cuModuleLoad, &module, "");
  CALL(cuModuleLoad, &module, nullptr);
  CALL(cuModuleLoad, nullptr, "/no/such/file");
  CALL(cuModuleLoad, &module, "/tmp");
  CALL(cuModuleUnload, nullptr);
}

BODY(module_names) {
  Primary primary;
  Kernels kernels;
  CUfunction function = nullptr;
  CUdeviceptr p = 0;
  size_t bytes = 0;
  const auto none = CUDA_ERROR_NOT_FOUND;
  EXPECT(none, "cuda.h, cuModuleGetFunction", cuModuleGetFunction, &function, kernels.module, "no");
  CALL(cuModuleGetFunction, &function, kernels.module, "");
  CALL(cuModuleGetFunction, &function, kernels.module, nullptr);
  CALL(cuModuleGetFunction, nullptr, kernels.module, "fill");
  CALL(cuModuleGetFunction, &function, nullptr, "fill");
  CALL(cuModuleGetFunction, &function, kernels.module, "counter");
  CALL(cuModuleGetFunction, &function, kernels.module, "fill");
  CALL(cuModuleGetGlobal_v2, &p, &bytes, kernels.module, "counter");
  VALUE("bytes", static_cast<long long>(bytes));
  VALUE("initial", text(read_back(p, 1)));
  CALL(cuModuleGetGlobal_v2, &p, &bytes, kernels.module, "table");
  VALUE("bytes", static_cast<long long>(bytes));
  CALL(cuModuleGetGlobal_v2, &p, &bytes, kernels.module, "fixed");
  VALUE("bytes", static_cast<long long>(bytes));
  CALL(cuModuleGetGlobal_v2, nullptr, &bytes, kernels.module, "counter");
  CALL(cuModuleGetGlobal_v2, &p, nullptr, kernels.module, "counter");
  CALL(cuModuleGetGlobal_v2, nullptr, nullptr, kernels.module, "counter");
  const char* const says = "cuda.h, cuModuleGetGlobal";
  EXPECT(none, says, cuModuleGetGlobal_v2, &p, &bytes, kernels.module, "no");
  CALL(cuModuleGetGlobal_v2, &p, &bytes, kernels.module, "fill");
  CALL(cuModuleGetGlobal_v2, &p, &bytes, kernels.module, nullptr);
  CALL(cuModuleGetGlobal_v2, &p, &bytes, nullptr, "counter");
  unsigned count = 0;
  CALL(cuModuleGetFunctionCount, &count, kernels.module);
  VALUE("functions", count);
  CALL(cuModuleGetFunctionCount, nullptr, kernels.module);
  std::vector<CUfunction> all(16, nullptr);
  CALL(cuModuleEnumerateFunctions, all.data(), 3, kernels.module);
  VALUE("third and fourth", std::to_string(all[2] != nullptr) + std::to_string(all[3] != nullptr));
  CALL(cuModuleEnumerateFunctions, all.data(), 16, kernels.module);
  CALL(cuModuleEnumerateFunctions, all.data(), 0, kernels.module);
  CALL(cuModuleEnumerateFunctions, nullptr, 3, kernels.module);
}

BODY(module_unloaded) {
  Primary primary;
  Kernels kernels;
  const CUfunction function = kernels.get("fill");
  CUdeviceptr p = 0;
  CALL(cuModuleUnload, kernels.module);
  CALL(cuModuleUnload, kernels.module);
  CUfunction found = nullptr;
  CALL(cuModuleGetFunction, &found, kernels.module, "fill");
  CALL(cuModuleGetGlobal_v2, &p, nullptr, kernels.module, "counter");
  int value = 0;
  CALL(cuFuncGetAttribute, &value, CU_FUNC_ATTRIBUTE_NUM_REGS, function);
  CALL(cuFuncGetModule, &kernels.module, function);
  VALUE("launch", name_of(fill(function, allocate(64), 1, 4, nullptr)));
}

BODY(module_jit) {
  Primary primary;
  CUmodule module = nullptr;
  std::vector<char> log(4096, 'x');
  const char* const bad = ".version 7.0\n.target sm_52\n.address_size 64\nnonsense";
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void* values[] = {log.data(), reinterpret_cast<void*>(log.size())};
  CALL(cuModuleLoadDataEx, &module, bad, 2, options, values);
  VALUE("a log", log[0] != 'x' && std::memchr(log.data(), 0, log.size()) != nullptr);
  VALUE("its length given", reinterpret_cast<size_t>(values[1]) < log.size());
  log.assign(4096, 'x');
  values[1] = reinterpret_cast<void*>(10UL);
  CALL(cuModuleLoadDataEx, &module, bad, 2, options, values);
  VALUE("not beyond its end", log[10] == 'x');
  values[1] = nullptr;
  CALL(cuModuleLoadDataEx, &module, bad, 2, options, values);
  CUjit_option info[] = {CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
                         CU_JIT_WALL_TIME, CU_JIT_OPTIMIZATION_LEVEL, CU_JIT_LOG_VERBOSE};
  void* given[] = {log.data(), reinterpret_cast<void*>(log.size()), nullptr,
                   reinterpret_cast<void*>(3UL), reinterpret_cast<void*>(1UL)};
  CALL(cuModuleLoadDataEx, &module, kPtx, 5, info, given);
  CALL(cuModuleLoadDataEx, &module, kPtx, 0, nullptr, nullptr);
  CALL(cuModuleLoadDataEx, &module, kPtx, 2, nullptr, values);
  CALL(cuModuleLoadDataEx, &module, kPtx, 2, options, nullptr);
  CUjit_option odd[] = {number<CUjit_option>(999)};
  CALL(cuModuleLoadDataEx, &module, kPtx, 1, odd, values);
  CUmoduleLoadingMode mode{};
  CALL(cuModuleGetLoadingMode, &mode);
  VALUE("mode", mode);
  CALL(cuModuleGetLoadingMode, nullptr);
}

BODY(module_link) {
  Primary primary;
  CUlinkState state = nullptr;
  void* cubin = nullptr;
  size_t bytes = 0;
  CALL(cuLinkCreate_v2, 0, nullptr, nullptr, nullptr);
  CALL(cuLinkCreate_v2, 0, nullptr, nullptr, &state);
  CALL(cuLinkCreate_v2, 1, nullptr, nullptr, &state);
  char* ptx = const_cast<char*>(kPtx);
  const size_t length = std::strlen(kPtx) + 1;
  const auto text_input = CU_JIT_INPUT_PTX;
  CALL(cuLinkAddData_v2, state, text_input, nullptr, length, "a", 0, nullptr, nullptr);
  CALL(cuLinkAddData_v2, state, text_input, ptx, 0, "a", 0, nullptr, nullptr);
  CALL(cuLinkAddData_v2, state, text_input, ptx, length, "a", 0, nullptr, nullptr);
  CALL(cuLinkAddFile_v2, state, text_input, "/no/such/file", 0, nullptr, nullptr);
  CALL(cuLinkAddFile_v2, state, text_input, nullptr, 0, nullptr, nullptr);
  CALL(cuLinkComplete, state, nullptr, &bytes);
  CALL(cuLinkComplete, state, &cubin, &bytes);
  CUmodule module = nullptr;
  CALL(cuModuleLoadData, &module, cubin);
  CUfunction function = nullptr;
  CALL(cuModuleGetFunction, &function, module, "fill");
  CALL(cuLinkDestroy, state);
  CALL(cuLinkDestroy, nullptr);
}
