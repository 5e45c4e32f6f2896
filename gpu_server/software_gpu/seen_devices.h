// SeenDevices: which of the machine's software GPUs the program sees, and as which number.
//
//   choose_seen_devices(config.devices, &::secure_getenv);     // once, at cuInit
//   machine_number(0)                                          // of the program's device 0
//
// CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER, as with CUDA (transport/cuda/visible_devices.h): UUID
// and PCI place of a device stay the same whichever of them are seen.
// Owner: the driver.  Threads: any once chosen; before, every device is its own number.
#pragma once

namespace farcall::softgpu {

// How many are seen; may be none.
int choose_seen_devices(int devices, char* (*lookup)(const char* name));
int machine_number(int ordinal);
inline int pci_bus_of(int ordinal) { return machine_number(ordinal) + 1; }

}  // namespace farcall::softgpu
