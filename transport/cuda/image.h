// What a program hands to cuModuleLoadData or cuLibraryLoadData, and how far it reaches.
//
//   Result<std::vector<std::byte>> packed = pack_image(image);          // client: for the wire
//   Result<UnpackedImage> unpacked = unpack_image(packed_bytes);        // server: load from here
//   cuLibraryLoadData(&library, unpacked->image(), …);
//
//   Result<std::vector<ImagePart>> parts = image_parts(image);           // software GPU
//   Result<std::vector<FatbinEntry>> entries = container_entries(parts.value()[0].bytes);
//   Result<std::string> text = ptx_text(entries.value()[0]);             // if its kind is kPtx
//
// Nobody tells the length of an image: it is read out of its own headers. image_form, image_parts
// and pack_image therefore trust their pointer, as the driver would: they serve the process that
// owns the image. Everything that takes a span is for hostile bytes: bounded, never crashes.
// Owner: spans borrow from the image.  Threads: any.
// Source: fatbinary_section.h of CUDA 13.0; the rest observed on nvcc 13.0 output.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "transport/base/secure_arena.h"
#include "transport/base/status.h"

namespace farcall::cuda {

enum class ImageForm {
  kWrapper,    // what nvcc's start-up code registers: points to a container, or to several
  kContainer,  // "fatbin": entries of PTX and ELF for several architectures
  kElf,        // one cubin
  kPtx,        // NUL-terminated text
};

struct ImagePart {
  ImageForm form = ImageForm::kPtx;  // never kWrapper
  std::span<const std::byte> bytes;  // PTX: with its NUL
};

// Errors: kMalformed for null.  Anything without a known magic is taken for PTX text, as the driver
// does.
Result<ImageForm> image_form(const void* image);

// A wrapper's containers: one for version 1; for version 2 (-rdc=true) the data and every element
// of its array. Any other form is its own single part.
// Errors: kMalformed (version, size or count out of range).
Result<std::vector<ImagePart>> image_parts(const void* image);

enum class EntryKind { kPtx, kElf, kOther };
enum class Compression { kNone, kLz4, kZstd };

struct FatbinEntry {
  EntryKind kind = EntryKind::kOther;
  std::uint16_t kind_number = 0;  // as written, for kOther
  std::uint32_t sm = 0;           // 75, 90, 120 …
  std::uint32_t version = 0;      // of the PTX language or the ELF form: major << 16 | minor
  std::uint64_t flags = 0;        // as written; the known ones are the bools below
  bool arch_specific = false;     // "sm_90a": runs on that architecture only
  bool family_specific = false;   // "sm_100f"
  bool debug = false;             // compiled with -G
  bool relocatable = false;       // to be linked with the other parts (-rdc=true)
  Compression compression = Compression::kNone;
  std::uint64_t uncompressed_bytes = 0;  // as the entry claims, 0 if not compressed
  std::string_view options;              // "--compile-only" and the like
  std::span<const std::byte> payload;    // as stored: cut to the compressed size if compressed
  std::span<const std::byte> stored;     // header, payload and padding: all of it in the container
};

// The entries of a container.
// Errors: kMalformed (a header or payload that leaves the container), kOverQuota (too many).
Result<std::vector<FatbinEntry>> container_entries(std::span<const std::byte> container);

// The payload, decompressed.
// Errors: kMalformed; kOverQuota for more than limits::kImageEntryBytesMax.
Result<std::vector<std::byte>> entry_bytes(const FatbinEntry& entry);
// The same as text, without trailing NULs. Errors: also kUnsupported for an entry that is not PTX.
Result<std::string> ptx_text(const FatbinEntry& entry);

// Of an ELF: the SM it was made for, e.g. 90.  Errors: kMalformed when it is not a cubin.
Result<std::uint32_t> elf_sm(std::span<const std::byte> elf);

enum class TrimRule;

// --- crossing the wire ---------------------------------------------------------------------------
// u32 count, u32 kind (0 bare, 1 wrapper v1, 2 wrapper v2), count × u64 bytes, then the parts, each
// padded to 8 bytes. All little endian. Read piece by piece rather than copied together, because
// an image can be 500 MB.
class PackedImage {
 public:
  std::uint64_t bytes() const { return bytes_; }        // of the whole packed form
  std::uint64_t left_out() const { return left_out_; }  // entries no device uses
  // Copies bytes [at, at + out.size()) of the packed form; at + out.size() <= bytes().
  void read(std::uint64_t at, std::span<std::byte> out) const;

 private:
  friend Result<PackedImage> pack_pieces(const void* image, std::span<const std::uint32_t> sms);
  struct Piece {
    std::uint64_t at;
    std::span<const std::byte> bytes;  // zeros follow up to the next piece
  };
  void add(std::span<const std::byte> bytes);
  std::span<std::byte> add_own(std::size_t bytes);
  std::uint64_t add_part(const ImagePart& part, std::span<const std::uint32_t> sms, TrimRule rule);
  void pad();
  std::vector<Piece> pieces_;                      // in order
  std::vector<std::unique_ptr<std::byte[]>> own_;  // heads; all else is borrowed from the image
  std::uint64_t bytes_ = 0;
  std::uint64_t left_out_ = 0;
};
// sms: compute capabilities of all devices that may get the image, e.g. 90; entries that none of
// them can use are left out (image_trim.h). Empty: everything goes.
Result<PackedImage> pack_pieces(const void* image, std::span<const std::uint32_t> sms = {});
// The whole in one buffer.
Result<std::vector<std::byte>> pack_image(const void* image,
                                          std::span<const std::uint32_t> sms = {});

// A packed image in the shape a driver loads. Owner: it holds the bytes; must outlive the module
// (a library loaded with CU_LIBRARY_BINARY_IS_PRESERVED keeps using them).
class UnpackedImage {
 public:
  const void* image() const { return image_; }
  const std::vector<ImagePart>& parts() const { return parts_; }

 private:
  friend Result<UnpackedImage> unpack_image(SecureBuffer packed);
  struct Wrapper {
    std::uint32_t magic, version;
    const void* data;
    const void* filename_or_fatbins;
  };
  SecureBuffer packed_;
  std::vector<ImagePart> parts_;        // into packed_
  std::vector<const void*> prelinked_;  // null-terminated, for a version-2 wrapper
  std::unique_ptr<Wrapper> wrapper_;
  const void* image_ = nullptr;
};
// Errors: kMalformed for anything whose parts do not fit their lengths exactly: a driver must never
// read past them.
Result<UnpackedImage> unpack_image(SecureBuffer packed);
// The same from a vector, which is wiped. Errors: also kSystem.
Result<UnpackedImage> unpack_image(std::vector<std::byte> packed);

}  // namespace farcall::cuda
