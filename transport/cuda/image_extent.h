// How many bytes an image of each form takes, told by its own headers.
//
//   Result<std::uint64_t> bytes = image_extent(ImageForm::kElf, at, available);
//
// Internal to this folder.  Owner: borrows.  Threads: any.
// `available` bytes at `at` are readable and nothing beyond is looked at; kUnknownLength for an
// image of the own process, whose headers are believed.
#pragma once
#include <cstddef>
#include <cstdint>

#include "transport/cuda/image.h"

namespace farcall::cuda {

inline constexpr std::uint64_t kUnknownLength = ~std::uint64_t{0};
inline constexpr std::uint32_t kWrapperMagic = 0x466243b1;
inline constexpr std::uint32_t kContainerMagic = 0xba55ed50;
inline constexpr std::uint32_t kElfMagic = 0x464c457f;
inline constexpr std::size_t kContainerHeaderBytes = 16;

// The form that the first four bytes tell; `available` may be less than four.
ImageForm form_at(const std::byte* at, std::uint64_t available);

// Errors: kMalformed when a header says what cannot be, or more than `available`; kOverQuota above
// limits::kModuleBytesMax. Not for kWrapper.
Result<std::uint64_t> image_extent(ImageForm form, const std::byte* at, std::uint64_t available);

}  // namespace farcall::cuda
