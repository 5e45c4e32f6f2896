#include "transport/link/server_list.h"

#include <doctest/doctest.h>

#include "transport/base/limits.h"

using namespace farcall;
using namespace farcall::link;

TEST_CASE("a list of servers keeps their order and their carriers") {
  auto servers = split_servers("gpu2:7717,shm://gpu1:7717,[::1]:9");
  REQUIRE(servers.ok());
  CHECK(servers.value() == std::vector<std::string>{"gpu2:7717", "shm://gpu1:7717", "[::1]:9"});
  CHECK(split_servers("loopback").value() == std::vector<std::string>{"loopback"});
}

TEST_CASE("a list with a hole, a server twice or too many servers is none") {
  for (const char* wrong : {"", ",", "gpu1:1,", ",gpu1:1", "gpu1:1,,gpu2:1", "gpu1:1,gpu1:1",
                            "tcp://gpu1:1,gpu2:1,shm://gpu1:1"}) {
    CAPTURE(wrong);
    CHECK(split_servers(wrong).status().code() == Code::kUnsupported);
  }
  std::string many = "gpu0:1";
  for (unsigned i = 1; i < limits::kServersMax; ++i) many += ",gpu" + std::to_string(i) + ":1";
  CHECK(split_servers(many).ok());
  CHECK(split_servers(many + ",gpu:1").status().code() == Code::kUnsupported);
}

TEST_CASE("certificate names are given for none, all or each of the servers") {
  CHECK(split_names("", 2).value() == std::vector<std::string>{"", ""});
  CHECK(split_names("pool", 2).value() == std::vector<std::string>{"pool", "pool"});
  CHECK(split_names("one,", 2).value() == std::vector<std::string>{"one", ""});
  CHECK(split_names("one,two", 3).status().code() == Code::kUnsupported);
}

TEST_CASE("a spread is off, on, or the largest share of one server") {
  CHECK_FALSE(parse_spread("").value().is_on);
  CHECK_FALSE(parse_spread("off").value().is_on);
  CHECK(parse_spread("on").value().is_on);
  CHECK(parse_spread("on").value().share_percent_max == 100);
  const Spread some = parse_spread("40%").value();
  CHECK(some.is_on);
  CHECK(some.share_percent_max == 40);
  for (const char* wrong : {"40", "0%", "100%", "-1%", "40%%", "%", "ON", "4 0%", "99999999999%"}) {
    CAPTURE(wrong);
    CHECK(parse_spread(wrong).status().code() == Code::kUnsupported);
  }
}
