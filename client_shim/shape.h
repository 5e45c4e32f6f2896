// Shape: a copy of two or three dimensions between host, device and arrays, in one form for all the
// cuMemcpy2D/3D functions.
//
//   Shape shape = shape_of(*descriptor);                // CUDA_MEMCPY2D or CUDA_MEMCPY3D
//   CUresult result = copy_shape(client, shape, stream, is_async);
//
// A host side travels packed, whatever its size, in one message: rows are gathered as they are
// sealed, and opened where they belong.
// Threads: any.
#pragma once
#include <cstddef>
#include <cstdint>

#include "client_shim/client.h"
#include "transport/api/hand.h"

namespace farcall::shim {

using api::hand::Place;

struct Side {
  Place place = Place::kHost;
  std::uint64_t at = 0;      // host address, device address or array id
  std::uint64_t pitch = 0;   // bytes from row to row; not for arrays
  std::uint64_t height = 0;  // rows from slice to slice; not for arrays
  std::uint64_t x = 0;       // bytes
  std::uint64_t y = 0;
  std::uint64_t z = 0;
  std::uint64_t lod = 0;

  std::uint64_t row_at(std::uint64_t row, std::uint64_t slice) const {
    return at + ((z + slice) * height + y + row) * pitch + x;
  }
};

struct Shape {
  Side from;
  Side to;
  std::uint64_t width = 0;  // bytes
  std::uint64_t rows = 1;
  std::uint64_t slices = 1;
};

// Unified addresses become host or device by the allocation map.
// Errors: CUDA_ERROR_INVALID_VALUE for an unknown memory type or a pitch below the width.
CUresult shape_of(const Allocations& allocations, const CUDA_MEMCPY2D& copy, Shape* shape);
CUresult shape_of(const Allocations& allocations, const CUDA_MEMCPY3D& copy, Shape* shape);

// Whether the rows of this side lie back to back.
bool is_packed(const Side& side, const Shape& shape);

CUresult copy_shape(Client& client, const Shape& shape, CUstream stream, bool is_async);
// From the device to host memory that the program leaves alone until what is in the stream is done:
// posted, where there is room.
CUresult land_shape(Client& client, const Shape& shape, CUstream stream);

}  // namespace farcall::shim
