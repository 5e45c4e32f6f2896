// Device numbers: the program's on one side of the wire, the server's on the other.
//
//   put_item(out, location);          // a CUmemLocation goes out with the server's number in it
//   InDevice, OutDevice               // the words for a CUdevice: see words.h
//
// A program under CUDA_VISIBLE_DEVICES counts other devices than the server, and its CUdevice is
// nothing but that number. So whatever names a device is translated in the client, as it is written
// and as it is read; servers know their own numbers only. A CUdevice parameter is an int to the
// compiler, so its row has to say so by a word; structs are known by their type, here.
// Threads: any.  Nothing here throws.
#pragma once
#include <cstring>

#include "transport/cuda/cuda_abi.h"

namespace farcall::api {

// No server has a device of this number; it answers CUDA_ERROR_INVALID_DEVICE or what CUDA says.
inline constexpr int kNoDevice = 0x7fffffff;

using DeviceNumber = int (*)(int) noexcept;

// How the client of this process translates; a server does not, and leaves them alone.
void set_device_numbers(DeviceNumber to_server, DeviceNumber to_program) noexcept;

// Negative numbers (CU_DEVICE_CPU, CU_DEVICE_INVALID) are nobody's device and should stay as they
// are.  The client gives
//   server_device    kNoDevice for a device the program does not see
//   program_device   CU_DEVICE_INVALID for one that it does not see
int server_device(int program_device) noexcept;
int program_device(int server_device) noexcept;

// How each struct that names devices is rewritten. A location that is no device stays untouched.
inline void renumber(CUmemLocation& at, DeviceNumber number) {
  unsigned type = 0;  // as a number: a program may have put there what CUDA has no name for
  static_assert(sizeof(at.type) == sizeof(type));
  std::memcpy(&type, &at.type, sizeof(type));
  if (type == CU_MEM_LOCATION_TYPE_DEVICE) at.id = number(at.id);
}
inline void renumber(CUmemAccessDesc& access, DeviceNumber number) {
  renumber(access.location, number);
}
inline void renumber(CUmemAllocationProp& properties, DeviceNumber number) {
  renumber(properties.location, number);
}
inline void renumber(CUmemPoolProps& properties, DeviceNumber number) {
  renumber(properties.location, number);
}

template <class T>
concept NamesDevice = requires(T& item, DeviceNumber number) {
  renumber(item, number);
};

}  // namespace farcall::api
