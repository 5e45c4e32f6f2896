#include "transport/api/hand.h"

#include <doctest/doctest.h>

#include <type_traits>

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
  CHECK(std::has_unique_object_representations_v<Launch>);
  CHECK(std::has_unique_object_representations_v<LaunchParams>);
}
