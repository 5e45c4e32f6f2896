#include "transport/base/status.h"

#include <doctest/doctest.h>

using namespace farcall;

TEST_CASE("a status without an error is ok and prints so") {
  CHECK(ok().ok());
  CHECK(ok().to_string() == "ok");
}

TEST_CASE("a status from errno keeps the number and says what was being done") {
  Status status = Status::system("connect to gpu1", ECONNREFUSED);
  CHECK(status.code() == Code::kSystem);
  CHECK(status.detail() == ECONNREFUSED);
  CHECK(status.to_string() == "system error: connect to gpu1: Connection refused");
}

TEST_CASE("a result holds a value or the reason there is none") {
  Result<int> good = 7;
  CHECK(good.ok());
  CHECK(good.value() == 7);
  Result<int> bad = Status(Code::kNotFound, "no such lease");
  CHECK_FALSE(bad.ok());
  CHECK(bad.status().code() == Code::kNotFound);
}
