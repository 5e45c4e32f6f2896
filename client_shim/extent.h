// Whether a copy of two or three dimensions stays within what it names.
//
//   if (CUresult bad = judge_shape(client, shape); bad != CUDA_SUCCESS) return bad;
//
// A local driver refuses a copy that leaves its array or allocation before it reads a byte. Here
// the bytes of a host side leave first, so this asks first: a wrong extent must not read, or run,
// past the program's memory. Threads: any.
#pragma once
#include "client_shim/shape.h"

namespace farcall::shim {

// Asks the server once for each array, and for device memory the session did not hand out.
// Errors: CUDA_ERROR_INVALID_VALUE for what does not fit or does not exist in 64 bits; what the
// server says of an array it does not know.
CUresult judge_shape(Client& client, const Shape& shape);

}  // namespace farcall::shim
