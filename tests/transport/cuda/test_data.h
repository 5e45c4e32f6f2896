// Files of tests/transport/cuda/data: images that nvcc 13.0 made of scale.cu, so that tests need no
// nvcc.
//
//   std::vector<std::byte> container = data_file("zstd.fatbin");
//
// Owner: values.  Threads: any.
#pragma once
#include <doctest/doctest.h>

#include <cstddef>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace farcall::cuda {

inline std::string data_text(const std::string& name) {
  std::ifstream in(std::string(FARCALL_DATA) + "/" + name, std::ios::binary);
  REQUIRE_MESSAGE(in.good(), name);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::vector<std::byte> data_file(const std::string& name) {
  const std::string text = data_text(name);
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return {bytes, bytes + text.size()};
}

}  // namespace farcall::cuda
