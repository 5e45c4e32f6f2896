#include <ar.h>
#include <elf.h>
#include <lz4.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "gpu_server/software_gpu/module_image.h"
#include "tests/gpu_server/software_gpu/driver_session.h"

namespace farcall::softgpu::tests {

TEST_CASE("an image without PTX has no binary for this GPU, and text that is no PTX is invalid") {
  DriverSession session;
  CUmodule module = nullptr;
  CHECK(cuModuleLoadData(&module, "this is not PTX") == CUDA_ERROR_INVALID_PTX);
  CHECK(cuModuleLoadData(&module, nullptr) == CUDA_ERROR_INVALID_VALUE);
  const std::vector<std::byte> empty = container_of({}, 90);
  CHECK(cuModuleLoadData(&module, empty.data()) == CUDA_ERROR_NO_BINARY_FOR_GPU);
  CHECK(cuModuleLoad(&module, "/nonexistent/module.ptx") == CUDA_ERROR_FILE_NOT_FOUND);
  CHECK(module == nullptr);
}

// An entry of a container, as container_of() lays it out, with what nvcc writes of a compressed
// one.
std::vector<std::byte> dense_entry(const std::string& text) {
  std::vector<char> dense(
      static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(text.size()))));
  const auto bytes = static_cast<std::uint32_t>(LZ4_compress_default(
      text.data(), dense.data(), static_cast<int>(text.size()), static_cast<int>(dense.size())));
  const std::vector<std::byte> image = container_of({""}, 90);
  const std::uint32_t padded = (bytes + 7) / 8 * 8;
  const std::uint64_t lz4 = 0x2011, plain = text.size();
  std::vector<std::byte> entry(image.begin() + 16, image.begin() + 16 + 64);
  std::memcpy(&entry[0x08], &padded, sizeof padded);
  std::memcpy(&entry[0x10], &bytes, sizeof bytes);
  std::memcpy(&entry[0x28], &lz4, sizeof lz4);
  std::memcpy(&entry[0x38], &plain, sizeof plain);
  entry.resize(64 + padded);
  std::memcpy(&entry[64], dense.data(), bytes);
  return entry;
}

std::vector<std::byte> container_around(const std::vector<std::byte>& entries) {
  std::vector<std::byte> image = container_of({""}, 90);
  image.resize(16);
  image.insert(image.end(), entries.begin(), entries.end());
  const std::uint64_t all = entries.size();
  std::memcpy(&image[8], &all, sizeof all);
  return image;
}

TEST_CASE("entries that are no bombs each are refused when they are one together") {
  DriverSession session;
  const auto entry = dense_entry(std::string(std::size_t{32} << 20, ' '));
  std::vector<std::byte> entries;
  for (int i = 0; i < 33; ++i) entries.insert(entries.end(), entry.begin(), entry.end());
  CUmodule module = nullptr;
  CHECK(cuModuleLoadData(&module, container_around(entries).data()) == CUDA_ERROR_INVALID_IMAGE);
  CHECK(module == nullptr);
}

TEST_CASE("an entry cannot claim so much that the sum of all begins anew") {
  const std::string text = kAddPtx;
  std::vector<std::byte> entries = dense_entry(text);
  std::vector<std::byte> last = entries;
  const std::uint64_t rest = 1 - text.size();
  std::memcpy(&last[0x38], &rest, sizeof rest);
  entries.insert(entries.end(), last.begin(), last.end());
  std::vector<std::string> texts;
  CHECK(ptx_of_bytes(container_around(entries), 90, &texts) == CUDA_ERROR_INVALID_IMAGE);
  CHECK(texts.empty());  // nothing was unpacked
}

TEST_CASE("PTX that is newer than the device is accepted") {
  DriverSession session;
  std::string text = kAddPtx;
  text.replace(text.find("sm_75"), 5, "sm_121");
  CUmodule module = nullptr;
  CHECK(cuModuleLoadData(&module, text.c_str()) == CUDA_SUCCESS);
  CHECK(cuModuleUnload(module) == CUDA_SUCCESS);
}

TEST_CASE("functions and globals are found by name, and nothing else is") {
  DriverSession session;
  CUmodule module = session.load(kAddPtx);
  CUfunction add = nullptr, again = nullptr, missing = nullptr;
  CHECK(cuModuleGetFunction(&add, module, "add") == CUDA_SUCCESS);
  CHECK(cuModuleGetFunction(&again, module, "add") == CUDA_SUCCESS);
  CHECK(add == again);
  CHECK(cuModuleGetFunction(&missing, module, "subtract") == CUDA_ERROR_NOT_FOUND);
  CUdeviceptr global = 0;
  std::size_t bytes = 0;
  CHECK(cuModuleGetGlobal_v2(&global, &bytes, module, "counter") == CUDA_SUCCESS);
  CHECK(bytes == 4);
  int value = 0;
  CHECK(cuMemcpyDtoH_v2(&value, global, 4) == CUDA_SUCCESS);
  CHECK(value == 7);
  CHECK(cuModuleGetGlobal_v2(&global, &bytes, module, "add") == CUDA_ERROR_NOT_FOUND);
  unsigned count = 0;
  CHECK(cuModuleGetFunctionCount(&count, module) == CUDA_SUCCESS);
  CHECK(count == 5);
  CHECK(cuModuleUnload(module) == CUDA_SUCCESS);
  CHECK(cuModuleUnload(module) == CUDA_ERROR_INVALID_HANDLE);
  CHECK(cuFuncLoad(add) == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("a kernel tells where its parameters lie until there are no more") {
  DriverSession session;
  CUfunction mixed = session.function(kAddPtx, "mixed");
  const std::size_t expected[][2] = {{0, 1}, {8, 24}, {32, 2}, {40, 8}};
  for (std::size_t i = 0; i < 4; ++i) {
    std::size_t offset = 99, size = 99;
    CHECK(cuFuncGetParamInfo(mixed, i, &offset, &size) == CUDA_SUCCESS);
    CHECK(offset == expected[i][0]);
    CHECK(size == expected[i][1]);
  }
  std::size_t offset = 0;
  CHECK(cuFuncGetParamInfo(mixed, 4, &offset, nullptr) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a library belongs to no context and becomes a module where it is used") {
  DriverSession session;
  CUlibrary library = nullptr;
  CHECK(cuLibraryLoadData(&library, kAddPtx, nullptr, nullptr, 0, nullptr, nullptr, 0) ==
        CUDA_SUCCESS);
  CUkernel kernel = nullptr, missing = nullptr;
  CHECK(cuLibraryGetKernel(&kernel, library, "add") == CUDA_SUCCESS);
  CHECK(cuLibraryGetKernel(&missing, library, "none") == CUDA_ERROR_NOT_FOUND);
  CUfunction here = nullptr;
  CHECK(cuKernelGetFunction(&here, kernel) == CUDA_SUCCESS);
  unsigned count = 0;
  CHECK(cuLibraryGetKernelCount(&count, library) == CUDA_SUCCESS);
  REQUIRE(count == 5);
  std::vector<CUkernel> kernels(count);
  CHECK(cuLibraryEnumerateKernels(kernels.data(), count, library) == CUDA_SUCCESS);
  CHECK(kernels[0] == kernel);
  int threads = 0;
  CHECK(cuKernelGetAttribute(&threads, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, kernel, 0) ==
        CUDA_SUCCESS);
  CHECK(threads == 1024);
  int text = 0, machine = 0;
  CHECK(cuKernelGetAttribute(&text, CU_FUNC_ATTRIBUTE_PTX_VERSION, kernel, 0) == CUDA_SUCCESS);
  CHECK(cuKernelGetAttribute(&machine, CU_FUNC_ATTRIBUTE_BINARY_VERSION, kernel, 0) ==
        CUDA_SUCCESS);
  CHECK(text == 75);
  CHECK(machine == 90);
  CUdeviceptr first = 0, second = 0;
  CHECK(cuLibraryGetGlobal(&first, nullptr, library, "counter") == CUDA_SUCCESS);
  CUcontext other = nullptr;
  CHECK(cuCtxCreate_v2(&other, 0, 0) == CUDA_SUCCESS);
  CUfunction there = nullptr;
  CHECK(cuKernelGetFunction(&there, kernel) == CUDA_SUCCESS);
  CHECK(there != here);
  CHECK(cuLibraryGetGlobal(&second, nullptr, library, "counter") == CUDA_SUCCESS);
  CHECK(first != second);
  CHECK(cuCtxDestroy_v2(other) == CUDA_SUCCESS);
  // libcudart asks for __managed__ variables before it makes a context current.
  CHECK(cuCtxSetCurrent(nullptr) == CUDA_SUCCESS);
  CHECK(cuLibraryGetManaged(&second, nullptr, library, "counter") == CUDA_SUCCESS);
  CHECK(first == second);
  CHECK(cuCtxSetCurrent(session.context()) == CUDA_SUCCESS);
  CHECK(cuLibraryUnload(library) == CUDA_SUCCESS);
  CHECK(cuLibraryUnload(library) == CUDA_ERROR_INVALID_HANDLE);
  const char* name = nullptr;
  CHECK(cuKernelGetName(&name, kernel) == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("what the linker returns can be loaded like any other image") {
  DriverSession session;
  constexpr const char* kUser = R"(
.version 8.0
.target sm_75
.address_size 64
.extern .global .align 4 .u32 shared_word;
.visible .entry use(.param .u64 out)
{
  .reg .b32 %r<2>;
  .reg .b64 %rd<2>;
  ld.param.u64 %rd1, [out];
  ld.global.u32 %r1, [shared_word];
  st.global.u32 [%rd1], %r1;
  ret;
}
)";
  constexpr const char* kOwner =
      ".version 8.0\n.target sm_75\n.address_size 64\n"
      ".visible .global .align 4 .u32 shared_word = 99;\n";
  CUlinkState job = nullptr;
  CHECK(cuLinkCreate_v2(0, nullptr, nullptr, &job) == CUDA_SUCCESS);
  for (const char* text : {kUser, kOwner}) {
    std::string copy = text;
    CHECK(cuLinkAddData_v2(job, CU_JIT_INPUT_PTX, copy.data(), copy.size() + 1, "part", 0, nullptr,
                           nullptr) == CUDA_SUCCESS);
  }
  void* image = nullptr;
  std::size_t bytes = 0;
  CHECK(cuLinkComplete(job, &image, &bytes) == CUDA_SUCCESS);
  CHECK(bytes > 0);
  CUmodule module = nullptr;
  CHECK(cuModuleLoadData(&module, image) == CUDA_SUCCESS);
  CUdeviceptr word = 0;
  CHECK(cuModuleGetGlobal_v2(&word, nullptr, module, "shared_word") == CUDA_SUCCESS);
  CHECK(cuLinkDestroy(job) == CUDA_SUCCESS);
  CHECK(cuLinkDestroy(job) == CUDA_ERROR_INVALID_HANDLE);
}

TEST_CASE("a link that fails says why in its log, and takes no options without values") {
  DriverSession session;
  char log[256] = "?";
  CUjit_option names[] = {CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, CU_JIT_ERROR_LOG_BUFFER};
  void* values[] = {reinterpret_cast<void*>(sizeof log), log};
  CUlinkState job = nullptr;
  CHECK(cuLinkCreate_v2(1, nullptr, nullptr, &job) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuLinkCreate_v2(1, names, nullptr, &job) == CUDA_ERROR_INVALID_VALUE);
  REQUIRE(cuLinkCreate_v2(2, names, values, &job) == CUDA_SUCCESS);
  CHECK(log[0] == 0);
  std::string lacks =
      ".version 8.0\n.target sm_75\n.address_size 64\n.extern .global .u32 nobody;\n"
      ".visible .entry use() { .reg .b32 %r; ld.global.u32 %r, [nobody]; ret; }\n";
  std::string nothing =
      "\x7f"
      "ELF";
  CHECK(cuLinkAddData_v2(job, CU_JIT_INPUT_OBJECT, nothing.data(), nothing.size(), "odd", 0,
                         nullptr, nullptr) != CUDA_SUCCESS);
  CHECK(std::string_view(log).starts_with("odd: "));
  CHECK(cuLinkAddData_v2(job, CU_JIT_INPUT_PTX, lacks.data(), lacks.size() + 1, "part", 0, nullptr,
                         nullptr) == CUDA_SUCCESS);
  void* image = nullptr;
  CHECK(cuLinkComplete(job, &image, nullptr) != CUDA_SUCCESS);
  CHECK(std::string_view(log).find("nobody") != std::string_view::npos);
  CHECK(reinterpret_cast<std::size_t>(values[0]) == std::strlen(log));
  CHECK(cuLinkDestroy(job) == CUDA_SUCCESS);
}

TEST_CASE("of several builds in a container the newest that fits is taken, else the oldest") {
  const std::vector<std::byte> new_one = container_of({"new"}, 100);
  std::vector<std::byte> both = container_of({"old"}, 75);
  both.insert(both.end(), new_one.begin() + 16, new_one.end());
  const std::uint64_t body = both.size() - 16;
  std::memcpy(both.data() + 8, &body, sizeof(body));
  const auto choose = [&](int sm) {
    std::vector<std::string> texts;
    CHECK(ptx_of_bytes(both, sm, &texts) == CUDA_SUCCESS);
    REQUIRE(texts.size() == 1);
    return texts[0];
  };
  CHECK(choose(90) == "old");
  CHECK(choose(100) == "new");
  CHECK(choose(120) == "new");
  CHECK(choose(60) == "old");
  std::vector<std::string> texts;
  CHECK(ptx_of_bytes(std::span(both).first(20), 90, &texts) == CUDA_ERROR_INVALID_IMAGE);
  CHECK(ptx_of_bytes({}, 90, &texts) == CUDA_ERROR_INVALID_IMAGE);
}

// A part of an ELF's content.
struct Part {
  std::size_t at = 0;
  std::size_t bytes = 0;
};

// A 64-bit ELF with sections of that name beside the names: the whole content, or these parts.
std::vector<std::byte> elf_of(std::uint16_t machine, const std::string& name,
                              std::span<const std::byte> content, std::vector<Part> parts = {}) {
  if (parts.empty()) parts.push_back({0, content.size()});
  const std::string names = std::string(1, '\0') + name + '\0';
  const auto here = static_cast<std::uint64_t>(sizeof(Elf64_Ehdr));
  std::vector<Elf64_Shdr> sections(2);
  sections[1].sh_type = SHT_STRTAB;
  sections[1].sh_offset = here;
  sections[1].sh_size = names.size();
  for (const Part& part : parts) {
    Elf64_Shdr section{};
    section.sh_name = 1;
    section.sh_type = SHT_PROGBITS;
    section.sh_offset = here + names.size() + part.at;
    section.sh_size = part.bytes;
    sections.push_back(section);
  }
  Elf64_Ehdr head{};
  std::memcpy(head.e_ident, ELFMAG, SELFMAG);
  head.e_ident[EI_CLASS] = ELFCLASS64;
  head.e_ident[EI_DATA] = ELFDATA2LSB;
  head.e_machine = machine;
  head.e_shoff = here + names.size() + content.size();
  head.e_shentsize = sizeof(Elf64_Shdr);
  head.e_shnum = static_cast<std::uint16_t>(sections.size());
  head.e_shstrndx = 1;
  const std::size_t table_bytes = sections.size() * sizeof(Elf64_Shdr);
  std::vector<std::byte> elf(head.e_shoff + table_bytes);
  std::memcpy(elf.data(), &head, sizeof head);
  std::memcpy(elf.data() + here, names.data(), names.size());
  std::memcpy(elf.data() + here + names.size(), content.data(), content.size());
  std::memcpy(elf.data() + head.e_shoff, sections.data(), table_bytes);
  return elf;
}

std::vector<std::byte> archive_of(const std::vector<std::byte>& member) {
  std::string text = "!<arch>\n";
  const auto add = [&](const char* name, std::span<const std::byte> content) {
    char head[61];
    std::snprintf(head, sizeof head, "%-16s%-12d%-6d%-6d%-8d%-10zu`\n", name, 0, 0, 0, 644,
                  content.size());
    text += head;
    text.append(reinterpret_cast<const char*>(content.data()), content.size());
    if (content.size() % 2 != 0) text += '\n';
  };
  add("/", std::as_bytes(std::span("symbols", 7)));
  add("member.o/", member);
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

constexpr std::uint16_t kMachineCuda = 190;

TEST_CASE("machine code that carries its PTX runs from it") {
  DriverSession session;
  std::string lines = kAddPtx;
  std::replace(lines.begin(), lines.end(), '\n', '\0');
  const auto cubin = elf_of(kMachineCuda, ".nv_debug_ptx_txt", std::as_bytes(std::span(lines)));
  CUmodule module = nullptr;
  CHECK(cuModuleLoadData(&module, cubin.data()) == CUDA_SUCCESS);
  CUfunction add = nullptr;
  CHECK(cuModuleGetFunction(&add, module, "add") == CUDA_SUCCESS);
  const auto bare = elf_of(kMachineCuda, ".text.add", std::as_bytes(std::span(lines)));
  CHECK(cuModuleLoadData(&module, bare.data()) == CUDA_ERROR_NO_BINARY_FOR_GPU);
}

TEST_CASE("sections that lie over each other are not searched without end") {
  std::string content(std::size_t{32} << 20, ' ');
  const std::size_t ptx_at = content.size();
  content += kAddPtx;
  const auto elf_with = [&](std::size_t empty) {
    std::vector<Part> parts(empty, Part{0, ptx_at});
    parts.push_back({ptx_at, content.size() - ptx_at});
    return elf_of(kMachineCuda, ".nv_debug_ptx_txt", std::as_bytes(std::span(content)), parts);
  };
  std::vector<std::string> texts;
  CHECK(ptx_of_bytes(elf_with(2), 90, &texts) == CUDA_SUCCESS);
  CHECK(texts.size() == 1);
  texts.clear();
  CHECK(ptx_of_bytes(elf_with(33), 90, &texts) == CUDA_ERROR_NO_BINARY_FOR_GPU);
}

TEST_CASE("a library for the linker is searched for PTX, however it ends") {
  const auto fatbin = container_of({"one", "two"}, 75);
  const auto object = elf_of(EM_X86_64, "__nv_relfatbin", fatbin);
  const auto library = archive_of(object);
  std::vector<std::string> texts;
  CHECK(ptx_of_bytes(library, 90, &texts) == CUDA_SUCCESS);
  CHECK(texts == std::vector<std::string>{"one", "two"});
  texts.clear();
  CHECK(ptx_of_bytes(object, 90, &texts) == CUDA_SUCCESS);
  CHECK(texts.size() == 2);
  for (std::size_t length = SARMAG; length < library.size(); ++length) {
    // In memory of its own, so that a sanitizer sees what reads beyond.
    const std::vector<std::byte> cut(library.begin(),
                                     library.begin() + static_cast<std::ptrdiff_t>(length));
    texts.clear();
    CHECK(ptx_of_bytes(cut, 90, &texts) != CUDA_SUCCESS);
  }
}

}  // namespace farcall::softgpu::tests
