#include "transport/api/hand.h"

#include <doctest/doctest.h>

#include <type_traits>

#include "transport/api/jit_options.h"

using namespace farcall::api::hand;

TEST_CASE("no hand-written body has a gap, whose bytes would be whatever lay there") {
  CHECK(std::has_unique_object_representations_v<OpenRequest>);
  CHECK(std::has_unique_object_representations_v<OpenReply>);
  CHECK(std::has_unique_object_representations_v<DeviceFacts>);
  CHECK(std::has_unique_object_representations_v<BindContext>);
  CHECK(std::has_unique_object_representations_v<DeviceOutput>);
  CHECK(std::has_unique_object_representations_v<RetainPrimary>);
  CHECK(std::has_unique_object_representations_v<CopyToDevice>);
  CHECK(std::has_unique_object_representations_v<CopyFromDevice>);
  CHECK(std::has_unique_object_representations_v<CopyShape>);
  CHECK(std::has_unique_object_representations_v<LoadImage>);
  CHECK(std::has_unique_object_representations_v<LoadOption>);
  CHECK(std::has_unique_object_representations_v<FunctionFacts>);
  CHECK(std::has_unique_object_representations_v<CreateLink>);
  CHECK(std::has_unique_object_representations_v<AddLinkInput>);
  CHECK(std::has_unique_object_representations_v<CompleteLink>);
  CHECK(std::has_unique_object_representations_v<LinkAnswer>);
  CHECK(std::has_unique_object_representations_v<Launch>);
  CHECK(std::has_unique_object_representations_v<LaunchParams>);
}

TEST_CASE("a compiler option whose value is a pointer or an output is never plain") {
  for (int option = 0; option < CU_JIT_NUM_OPTIONS + 8; ++option) {
    bool numbers_only =
        (option >= CU_JIT_OPTIMIZATION_LEVEL && option <= CU_JIT_CACHE_MODE) ||
        option == CU_JIT_MAX_REGISTERS || option == CU_JIT_THREADS_PER_BLOCK ||
        option == CU_JIT_FAST_COMPILE || (option >= CU_JIT_LTO && option <= CU_JIT_FMA) ||
        option == CU_JIT_OPTIMIZE_UNUSED_DEVICE_VARIABLES ||
        (option >= CU_JIT_POSITION_INDEPENDENT_CODE && option <= CU_JIT_OVERRIDE_DIRECTIVE_VALUES);
    CAPTURE(option);
    CHECK(farcall::api::is_plain_jit_option(static_cast<CUjit_option>(option)) == numbers_only);
  }
}
