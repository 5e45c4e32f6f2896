// Short ways to say what PTX a test is about.
//
//   const Parsed parsed = body_of(".reg .b32 %r<4>; add.s32 %r1, %r2, 5;");
//   CHECK(parsed.body.instructions[0].opcode == "add");
//
// Owner: values; string_views in the body point into the module beside it.  Threads: one.
#pragma once
#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <utility>

#include "gpu_server/software_gpu/ptx/parser.h"

namespace farcall::softgpu::ptx {

inline std::string with_head(std::string_view text) {
  return ".version 9.0\n.target sm_90\n.address_size 64\n" + std::string(text);
}

inline Module module_of(std::string_view text) {
  Result<Module> module = parse_module(with_head(text));
  REQUIRE_MESSAGE(module.ok(), module.status().to_string());
  return std::move(module).value();
}

inline Status module_error(std::string_view text) { return parse_module(with_head(text)).status(); }

struct Parsed {
  Module module;
  Body body;
  const Instruction& operator[](std::size_t index) const { return body.instructions.at(index); }
};

// The body of `name` in a module; by default that of an entry k made of `text` alone.
inline Parsed body_in(Module module, std::string_view name) {
  const auto found = module.find_function(name, 0);
  REQUIRE(found.has_value());
  Result<Body> body = parse_body(module, module.functions[*found]);
  REQUIRE_MESSAGE(body.ok(), body.status().to_string());
  return {std::move(module), std::move(body).value()};
}

inline std::string entry_with(std::string_view text) {
  return ".visible .entry k(.param .u64 k_param_0, .param .align 4 .b8 k_param_1[12])\n{\n" +
         std::string(text) + "\n}\n";
}

inline Parsed body_of(std::string_view text) { return body_in(module_of(entry_with(text)), "k"); }

inline Status body_error(std::string_view text) {
  const Module module = module_of(entry_with(text));
  return parse_body(module, module.functions[0]).status();
}

}  // namespace farcall::softgpu::ptx
