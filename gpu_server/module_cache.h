// ModuleCache: images that a tenant's programs have loaded before, kept on this host's disk so that
// they need not cross the link again.
//
//   ModuleCache cache(std::move(folder), bytes_max);
//   Result<SecureBuffer> image = cache.find(name);           // kNotFound: the client must send it
//   auto writer = cache.begin(name);                         // null: it will not be kept
//   writer->add(piece);  …  writer->keep();                  // else it is as if never begun
//
// What lies on the disk is ciphertext. Its key comes from the client with the image's name and is
// forgotten with the call; the name tells nothing either (client_shim/image_names.h). A file that
// is torn, changed, or another's does not open: a miss, and it is removed. No disk, no room: a
// miss. What the disk does show: how many images a tenant loads, when, and how long they are.
//
// File: u32 "FCM1", u32 0, u64 image bytes, 32 bytes salt; then the image in pieces of
// kPieceBytes, each sealed by AES-256-GCM: text, 16 bytes tag. Key = HKDF-Expand(client's key,
// "module file" ‖ head), nonce = number of the piece, additional data = the head, which fixes the
// number of pieces. The salt is random, so that no key is used twice.
// Written beside and renamed, so that a name always leads to a whole file.
// Owner: a worker.  Threads: any; several workers of a tenant may share a folder.
#pragma once
#include <array>
#include <memory>
#include <string>

#include "transport/api/hand.h"
#include "transport/base/secure_arena.h"
#include "transport/base/status.h"
#include "transport/base/unique.h"
#include "transport/link/engine.h"

namespace farcall::server {

class ModuleCache {
 public:
  using Name = api::hand::ImageName;
  static constexpr std::size_t kPieceBytes = std::size_t{1} << 20;

  struct Head {
    std::uint32_t magic = 0;
    std::uint32_t zero = 0;
    std::uint64_t bytes = 0;
    std::array<std::byte, 32> salt{};
  };

  // folder: this tenant's, open for reading.  bytes_max: of all files in it.
  ModuleCache(Fd folder, std::uint64_t bytes_max)
      : folder_(std::move(folder)), bytes_max_(bytes_max) {}

  // Errors: kNotFound, whatever the reason; kSystem when there is no memory for the image.
  Result<SecureBuffer> find(const Name& name);

  class Writer {
   public:
    ~Writer();  // removes what was not kept
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;
    // The next bytes of the image; all of them together name.bytes. What fails shows in keep().
    void add(std::span<const std::byte> text);
    // Errors: kSystem (disk full …), kMalformed (not all bytes came).
    Status keep();

   private:
    friend class ModuleCache;
    Writer() = default;
    Status seal(std::span<const std::byte> text);
    int folder_ = -1;
    Fd file_;
    std::string temporary_;
    std::string final_;
    Head head_{};
    std::unique_ptr<link::Aead> aead_;
    std::unique_ptr<std::byte[]> sealed_;
    SecureBuffer piece_;  // text that does not fill a piece yet
    std::size_t piece_used_ = 0;
    std::uint64_t pieces_ = 0;
    std::uint64_t left_ = 0;
    Status failed_;
  };
  // Makes room by removing what was not used for longest. Null when the image cannot be kept.
  std::unique_ptr<Writer> begin(const Name& name);

 private:
  const Fd folder_;
  const std::uint64_t bytes_max_;
};

}  // namespace farcall::server
