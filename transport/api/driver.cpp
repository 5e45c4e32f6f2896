#include "transport/api/driver.h"

namespace farcall::api {

int load_driver(Driver& driver, FunctionRef<void*(const char* symbol)> find) {
  int found = 0;
  auto fill = [&](auto& member, const char* symbol) {
    member = reinterpret_cast<std::remove_reference_t<decltype(member)>>(find(symbol));
    if (member != nullptr) ++found;
  };
#define API(ID, F, WHEN, ...) fill(driver.F, #F);
#define HAND(ID, F, WHEN) fill(driver.F, #F);
#define LOCAL(F) fill(driver.F, #F);
#include "transport/api/table.inc"
  return found;
}

}  // namespace farcall::api
