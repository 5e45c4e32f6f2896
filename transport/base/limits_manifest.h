// Limits of manifests of code (security/manifest.h, code_integrity.h): a part of limits.h that few
// need.
#pragma once
#include <cstddef>
#include <cstdint>

namespace farcall::limits {

// A server with NVIDIA's driver, UCX and all they load has less than a hundred files.
inline constexpr std::size_t kManifestFilesMax = 1'024;
inline constexpr std::size_t kManifestPathBytesMax = 1'024;
inline constexpr std::size_t kManifestNameBytesMax = 64;
// Each file beside its path: role, size, two digests and what says how long they are.
inline constexpr std::size_t kManifestEntryBytesMax = kManifestPathBytesMax + 96;
inline constexpr std::size_t kManifestBytesMax = kManifestFilesMax * kManifestEntryBytesMax;
// As PEM, with room for its lines and signatures.
inline constexpr std::size_t kManifestFileBytesMax = kManifestBytesMax * 3 / 2;
// Two people sign where one is not enough; more than a handful is a mistake.
inline constexpr std::size_t kCosignersMax = 8;

// Exceptions in one file: a package that is upgraded changes a few libraries.
inline constexpr std::size_t kApprovalsMax = 256;
// An exception bridges the time until there is a new manifest.
inline constexpr std::int64_t kApprovalSecondsMax = std::int64_t{90} * 86'400;
inline constexpr std::size_t kApprovalOwnerBytesMax = 64;
inline constexpr std::size_t kApprovalReasonBytesMax = 200;
inline constexpr std::size_t kApprovalFileBytesMax =
    kApprovalsMax * (kManifestPathBytesMax + 1'024) * 3 / 2;

// A file is read in pieces of this size: large enough that hashing is what takes the time.
inline constexpr std::size_t kMeasurePieceBytes = std::size_t{256} << 10;
// What was written this short a time before it was looked at may have been written again within
// one tick of the file system's clock (10 ms at most) without showing; it is hashed again until it
// is older. Two seconds is what the coarsest file systems (FAT) count by.
inline constexpr std::int64_t kMeasureSettleNs = 2'000'000'000;
// Files that are remembered: those of a manifest and as many again that are approved or unlisted.
inline constexpr std::size_t kMeasuredFilesMax = 2 * kManifestFilesMax;
inline constexpr std::size_t kMeasuredBytesMax =
    kMeasuredFilesMax * (kManifestPathBytesMax + 96) + 4'096;

// What a worker may tell of the files it runs.
inline constexpr std::size_t kLoadedFilesMax = 512;
inline constexpr std::size_t kLoadedBytesMax = std::size_t{128} << 10;
// How often a server looks at its files between sessions; one look is a stat() for each.
inline constexpr int kCodeLookMs = 500;

static_assert(kLoadedFilesMax <= kMeasuredFilesMax, "what a worker runs can be remembered");

}  // namespace farcall::limits
