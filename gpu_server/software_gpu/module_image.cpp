#include "gpu_server/software_gpu/module_image.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>

#include "gpu_server/software_gpu/object_file.h"
#include "transport/base/limits.h"
#include "transport/base/log.h"
#include "transport/cuda/image_extent.h"

namespace farcall::softgpu {
namespace {

using cuda::FatbinEntry;
using cuda::ImageForm;

// What distinguishes one build of the same source from another.
struct Target {
  int sm = 0;
  bool special = false;  // "sm_90a", "sm_100f"
  bool operator==(const Target&) const = default;
};

Target target_of(const FatbinEntry& entry) {
  return {static_cast<int>(entry.sm), entry.arch_specific || entry.family_specific};
}

// True if `a` suits a device of `sm` better than `b`.
bool is_better(const Target& a, const Target& b, int sm) {
  const bool a_fits = a.sm <= sm;
  const bool b_fits = b.sm <= sm;
  if (a_fits != b_fits) return a_fits;
  if (a.sm != b.sm) return a_fits ? a.sm > b.sm : a.sm < b.sm;
  return !a.special && b.special;
}

// The texts of one image, and what finding them may cost: small parts may claim to be large, and
// parts may lie over each other, so that a small image could be gigabytes to unpack and to search.
class Texts {
 public:
  explicit Texts(std::vector<std::string>* found) : found_(*found) {
    for (const std::string& text : found_) (void)may_look_at(text.size());
  }

  // False when that many bytes more than there were so far are too many to unpack or look at.
  bool may_look_at(std::uint64_t bytes) {
    if (bytes > limits::kPtxBytesMax - looked_at_bytes_) return false;
    looked_at_bytes_ += bytes;
    return true;
  }
  void add(std::string text) { found_.push_back(std::move(text)); }

 private:
  std::vector<std::string>& found_;
  std::uint64_t looked_at_bytes_ = 0;  // up to kPtxBytesMax
};

// The PTX that machine code was made of, where -lineinfo left it for debuggers: lines that end with
// NULs. Observed on CUDA 13.0.
void ptx_of_machine_code(std::span<const std::byte> cubin, Texts& texts) {
  for (std::span<const std::byte> section : elf_sections(cubin, ".nv_debug_ptx_txt")) {
    if (!texts.may_look_at(section.size())) return;
    std::string text(reinterpret_cast<const char*>(section.data()), section.size());
    std::replace(text.begin(), text.end(), '\0', '\n');
    if (text.find(".version") != std::string::npos) texts.add(std::move(text));
  }
}

// Machine code for exactly this device's generation: what it was made of, if it says so.
void ptx_of_machine_code_in(const std::vector<FatbinEntry>& entries, int sm, Texts& texts) {
  for (const FatbinEntry& entry : entries) {
    if (entry.kind != cuda::EntryKind::kElf || target_of(entry).sm != sm) continue;
    if (!texts.may_look_at(entry.uncompressed_bytes)) return;
    auto cubin = cuda::entry_bytes(entry);
    if (cubin.ok()) ptx_of_machine_code(cubin.value(), texts);
  }
}

CUresult ptx_of_container(std::span<const std::byte> container, int sm, Texts& texts) {
  auto entries = cuda::container_entries(container);
  if (!entries.ok()) {
    FARCALL_LOG_DEBUG("container: %s", entries.status().to_string().c_str());
    return CUDA_ERROR_INVALID_IMAGE;
  }
  const FatbinEntry* best = nullptr;
  for (const FatbinEntry& entry : entries.value()) {
    if (entry.kind != cuda::EntryKind::kPtx) continue;
    if (best == nullptr || is_better(target_of(entry), target_of(*best), sm)) best = &entry;
  }
  if (best == nullptr) {
    ptx_of_machine_code_in(entries.value(), sm, texts);
    return CUDA_SUCCESS;
  }
  const auto is_wanted = [&](const FatbinEntry& entry) {
    return entry.kind == cuda::EntryKind::kPtx && target_of(entry) == target_of(*best);
  };
  // Of one entry ptx_text() sees to it that it is no bomb; here many small ones may be. All are
  // looked at before the first is unpacked.
  for (const FatbinEntry& entry : entries.value()) {
    if (!is_wanted(entry)) continue;
    if (texts.may_look_at(std::max<std::uint64_t>(entry.uncompressed_bytes, 1))) continue;
    FARCALL_LOG_DEBUG("container: more than 1 GiB of PTX");
    return CUDA_ERROR_INVALID_IMAGE;
  }
  for (const FatbinEntry& entry : entries.value()) {
    if (!is_wanted(entry)) continue;
    auto text = cuda::ptx_text(entry);
    if (!text.ok()) {
      FARCALL_LOG_DEBUG("PTX entry: %s", text.status().to_string().c_str());
      return CUDA_ERROR_INVALID_IMAGE;
    }
    texts.add(std::move(text).value());
  }
  return CUDA_SUCCESS;
}

// What nvcc leaves in an object of the host's: fatbins, one behind the other.
CUresult ptx_of_object(std::span<const std::byte> object, int sm, Texts& texts) {
  for (const char* name : {"__nv_relfatbin", ".nv_fatbin"}) {
    for (std::span<const std::byte> rest : elf_sections(object, name)) {
      while (!rest.empty()) {
        auto bytes = cuda::image_extent(ImageForm::kContainer, rest.data(), rest.size());
        if (!bytes.ok()) return CUDA_ERROR_INVALID_IMAGE;
        const auto here = static_cast<std::size_t>(bytes.value());
        if (CUresult failed = ptx_of_container(rest.first(here), sm, texts)) return failed;
        rest = rest.subspan(std::min((here + 7) / 8 * 8, rest.size()));
      }
    }
  }
  return CUDA_SUCCESS;
}

CUresult ptx_of_elf(std::span<const std::byte> elf, int sm, Texts& texts) {
  if (!cuda::elf_sm(elf).ok()) return ptx_of_object(elf, sm, texts);
  ptx_of_machine_code(elf, texts);
  return CUDA_SUCCESS;
}

CUresult ptx_of_part(ImageForm form, std::span<const std::byte> bytes, int sm, Texts& texts) {
  switch (form) {
    case ImageForm::kElf: return ptx_of_elf(bytes, sm, texts);
    case ImageForm::kContainer: return ptx_of_container(bytes, sm, texts);
    case ImageForm::kWrapper: return CUDA_ERROR_INVALID_IMAGE;
    case ImageForm::kPtx: break;
  }
  std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  text.resize(std::strlen(text.c_str()));
  texts.add(std::move(text));
  return CUDA_SUCCESS;
}

void put(std::vector<std::byte>& out, std::size_t at, std::uint64_t value, std::size_t bytes) {
  std::memcpy(out.data() + at, &value, bytes);
}

}  // namespace

CUresult ptx_of_image(const void* image, int sm, std::vector<std::string>* texts) {
  if (image == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto parts = cuda::image_parts(image);
  if (!parts.ok()) return CUDA_ERROR_INVALID_IMAGE;
  Texts found(texts);
  for (const cuda::ImagePart& part : parts.value()) {
    if (CUresult failed = ptx_of_part(part.form, part.bytes, sm, found)) return failed;
  }
  return texts->empty() ? CUDA_ERROR_NO_BINARY_FOR_GPU : CUDA_SUCCESS;
}

CUresult ptx_of_bytes(std::span<const std::byte> bytes, int sm, std::vector<std::string>* texts) {
  if (bytes.size() < sizeof(std::uint32_t)) return CUDA_ERROR_INVALID_IMAGE;
  std::vector<std::span<const std::byte>> files{bytes};
  if (is_archive(bytes)) files = archive_members(bytes);
  Texts found(texts);
  for (std::span<const std::byte> file : files) {
    const ImageForm form = cuda::form_at(file.data(), file.size());
    if (CUresult failed = ptx_of_part(form, file, sm, found)) return failed;
  }
  return texts->empty() ? CUDA_ERROR_NO_BINARY_FOR_GPU : CUDA_SUCCESS;
}

CUresult ptx_of_file(const char* path, int sm, std::vector<std::string>* texts) {
  if (path == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::ifstream file(path, std::ios::binary);
  // A folder can be opened too, but not read.
  if (!file || (file.peek(), file.bad())) return CUDA_ERROR_FILE_NOT_FOUND;
  file.clear();
  const std::string content{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  return ptx_of_bytes(std::as_bytes(std::span(content)), sm, texts);
}

// Layout: shared knowledge about fatbins, see image.h; entries of 64 bytes, uncompressed text
// padded with NULs to 8 bytes.
std::vector<std::byte> container_of(const std::vector<std::string>& texts, int sm) {
  constexpr std::size_t kHead = 16;
  constexpr std::size_t kEntryHead = 64;
  std::vector<std::byte> out(kHead);
  put(out, 0, 0xBA55ED50, 4);
  put(out, 4, 1, 2);
  put(out, 6, kHead, 2);
  for (const std::string& text : texts) {
    const std::size_t at = out.size();
    const std::size_t padded = (text.size() + 1 + 7) / 8 * 8;
    out.resize(at + kEntryHead + padded);
    put(out, at, 1, 2);  // PTX
    put(out, at + 2, 0x0101, 2);
    put(out, at + 4, kEntryHead, 4);
    put(out, at + 8, padded, 4);
    put(out, at + 0x1a, 9, 2);  // PTX ISA 9.0
    put(out, at + 0x1c, static_cast<std::uint64_t>(sm), 4);
    put(out, at + 0x28, 0x11, 8);  // 64-bit, Linux
    std::memcpy(out.data() + at + kEntryHead, text.data(), text.size());
  }
  put(out, 8, out.size() - kHead, 8);
  return out;
}

}  // namespace farcall::softgpu
