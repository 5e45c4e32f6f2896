#include "transport/api/family_names.h"

#include <doctest/doctest.h>

#include "transport/api/families.h"

using namespace farcall::api;

TEST_CASE("every family of the table has a name, and a name leads back to it") {
  CHECK(std::size(kFamilies) == kFamilyNames.size());
  for (FamilyRows (*rows)() : kFamilies) {
    const std::uint8_t family = rows().family;
    CHECK(family < 64);  // a lease has a bit for it
    CHECK(name_of_family(family) != "unknown");
    CHECK(family_named(name_of_family(family)) == family);
  }
  CHECK(name_of_family(0xff) == "unknown");
  CHECK_FALSE(family_named("").has_value());
  CHECK(name_of_family(0x0f) == "graph");
}
