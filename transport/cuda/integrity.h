// The self-test that NVIDIA's runtime library asks of a driver at start-up.
//
//   IntegrityFacts facts{…};  std::uint64_t answer[2];
//   integrity_answer(13002, facts, answer);
//
// libcudart calls one function of a private table with its version and the time, and refuses to
// work (cudaErrorSoftwareValidityNotEstablished) unless the 16 bytes that come back are a keyed
// hash of facts that the process and the driver already share: process, thread, addresses, devices.
// It protects no content and no secret of a user; it asks "are you a driver I know?". This is an
// independent implementation, from publicly described facts and observation, and exists for one
// purpose: interoperability of programs that users already have with a driver library that NVIDIA
// did not write. Whether your CUDA licence lets you run NVIDIA's runtime on such a driver is yours
// to check (see the README). Programs of the driver API never reach this code. MD2 is broken as a
// hash and is used for nothing else. Owner: values.  Threads: any.  Source: RFC 1319 (MD2), RFC
// 2104 (HMAC).
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace farcall::cuda {

struct IntegrityDevice {
  std::array<std::byte, 16> uuid;
  std::int32_t pci[3];  // domain, bus, device
};

struct IntegrityFacts {
  std::uint32_t driver_version;
  std::uint32_t process;
  std::uint32_t thread;                                         // low half of pthread_self()
  std::uint64_t cudart_table, integrity_table, check_function;  // addresses in this process
  std::uint64_t unix_seconds;
  std::vector<IntegrityDevice> devices;
};

void integrity_answer(std::uint32_t version, const IntegrityFacts& facts,
                      std::uint64_t (&answer)[2]);

// The pieces, for tests.
using Md2 = std::array<std::uint8_t, 16>;
Md2 md2(std::span<const std::uint8_t> message);
Md2 hmac_md2(const Md2& key, std::span<const std::uint8_t> message);

}  // namespace farcall::cuda
