// From the image a program hands over to the PTX texts this device can run.
//
// A part with several PTX entries was compiled for several architectures: the newest not newer than
// the device is taken, else the oldest of the newer ones (PTX that is too new is accepted, because
// the interpreter has no hardware to run out of). Machine code is never usable here, but the PTX
// that it carries when it was compiled with -lineinfo is. Threads: any.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "gpu_server/software_gpu/link_job.h"
#include "transport/cuda/cuda_abi.h"
#include "transport/cuda/image.h"

namespace farcall::softgpu {

// sm  the device's compute capability, 90 for 9.0
// Errors: CUDA_ERROR_NO_BINARY_FOR_GPU without PTX, CUDA_ERROR_INVALID_IMAGE for what no tool made.
CUresult ptx_of_image(const void* image, int sm, std::vector<std::string>* texts);
// The same for bytes whose length is known: a file, or an input of cuLinkAddData. Those may also be
// objects of the host's with fatbins in them, and archives of such.
CUresult ptx_of_bytes(std::span<const std::byte> bytes, int sm, std::vector<std::string>* texts);
CUresult ptx_of_file(const char* path, int sm, std::vector<std::string>* texts);

// Packs texts into a container whose entries are all taken again by the functions above: what
// cuLinkComplete returns as its "cubin".
std::vector<std::byte> container_of(const std::vector<std::string>& texts, int sm);

}  // namespace farcall::softgpu
