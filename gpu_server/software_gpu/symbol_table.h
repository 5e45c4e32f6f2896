// Every name this library exports, with its address: what cuGetProcAddress hands out.
//
//   void* address = find_symbol("cuMemAlloc_v2");     // null for a name that is not exported
//
// A function this driver does not serve is exported all the same: programs link against CUDA's
// whole list, and a call answers CUDA_ERROR_NOT_SUPPORTED, named in the debug log.
// To serve one more: write it in api/, and move its line from refused.def to served.def.
// Threads: any.
#pragma once

namespace farcall::softgpu {

void* find_symbol(const char* name);

// What a refused function answers. Logs each name once, at debug level.
int refuse(const char* name, unsigned char* told);

}  // namespace farcall::softgpu
