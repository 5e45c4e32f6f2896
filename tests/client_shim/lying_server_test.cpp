// A server that answers every function with what it should not: lengths, counts and ids of its own
// invention, too little, too much. The shim writes nowhere but where the caller's buffers are (each
// ends at a page that nobody may touch), never hangs, and what no reply can be ends the session.
#ifdef FARCALL_BAD_INPUT_GPU
#  include <cstring>
#  include <optional>
#  include <string>
#  include <string_view>

#  include "client_shim/symbols.h"
#  include "tests/client_shim/loaded_driver.h"
#  include "tests/client_shim/lying_world.h"
#  include "tests/client_shim/world.h"
#  include "tests/client_shim/wrong_arguments.h"

namespace farcall::shim {
namespace {

using Body = std::vector<std::byte>;

// Success, and `bytes` bytes that are `value` over and over.
void claim(Body& body, std::size_t bytes, std::uint32_t value) {
  body.assign(sizeof(std::uint32_t) + bytes, std::byte{0});
  for (std::size_t at = sizeof(std::uint32_t); at + sizeof value <= body.size();
       at += sizeof value) {
    std::memcpy(body.data() + at, &value, sizeof value);
  }
}

struct Lie {
  const char* what;
  LyingWorld::Lie tell;
};
constexpr std::size_t kMuch = 60'000;
std::size_t length(const Body& body) {
  return std::max(body.size(), sizeof(std::uint32_t)) - sizeof(std::uint32_t);
}
const Lie kLies[] = {
    {"right length, largest numbers", [](Body& body) { claim(body, length(body), UINT32_MAX); }},
    {"right length, small numbers", [](Body& body) { claim(body, length(body), 1); }},
    {"right length, as many as there may be", [](Body& body) { claim(body, length(body), 4096); }},
    {"success and nothing", [](Body& body) { claim(body, 0, 0); }},
    {"no status", [](Body& body) { body.clear(); }},
    {"a bit too long", [](Body& body) { claim(body, length(body) + 8, 8); }},
    {"too short", [](Body& body) { claim(body, length(body) / 2, 2); }},
    {"long, largest numbers", [](Body& body) { claim(body, kMuch, UINT32_MAX); }},
    {"long, small numbers", [](Body& body) { claim(body, kMuch, 3); }},
    {"long, large numbers", [](Body& body) { claim(body, kMuch, kMuch / 8); }},
    {"long, INT_MAX", [](Body& body) { claim(body, kMuch, INT32_MAX); }},
};
constexpr Way kWay{"live", 1, Pointers::kExact, Handles::kLive};

struct Stage {
  explicit Stage(const LoadedDriver& loaded) : world(loaded.table()), driver(shim_table()) {
    CUDA_OK(cuCtxCreate_v2(&context, 0, 0));
    objects.make();
  }
  LyingWorld world;
  const api::Driver driver;
  Objects objects{driver};
  CUcontext context = nullptr;
};

// The twin of a function takes its answers the same way.
bool is_twin(std::string_view name) { return name.ends_with("_ptsz") || name.ends_with("_ptds"); }

}  // namespace

TEST_CASE("whatever a server answers, the shim writes where it may and goes on") {
  const LoadedDriver loaded;
  std::optional<Stage> stage;
  std::size_t turn = 0;
  int told = 0, seen_through = 0;
  for (const AnyFunction& function : every_function()) {
    if (is_twin(function.name)) continue;
    // Every lie would take minutes: each function hears some, and each lie is told to many.
    constexpr std::size_t kEach = 4;
    for (std::size_t i = 0; i < kEach; ++i, ++turn) {
      const Lie& lie = kLies[turn * 3 % std::size(kLies)];
      INFO(std::string(function.name), ": ", std::string(lie.what));
      if (!stage) stage.emplace(loaded);
      (void)cuCtxSetCurrent(stage->context);
      stage->world.lie(lie.tell);
      (void)function.call(find_symbol(function.name), kWay, stage->objects);
      const bool answered = stage->world.lies() > 0;
      told += stage->world.lies();
      stage->world.lie(nullptr);
      if (stage->world.is_over()) {
        ++seen_through;
        stage.reset();
      }
      if (!answered) break;  // the shim alone
    }
  }
  CHECK(told > 500);
  CHECK(seen_through > 100);
}

}  // namespace farcall::shim
#endif
