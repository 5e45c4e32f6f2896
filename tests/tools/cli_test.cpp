#include <doctest/doctest.h>
#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tools/cli/child.h"
#include "tools/cli/connection.h"
#include "tools/cli/summary.h"

using namespace farcall;
using namespace farcall::cli;

namespace {

// A private folder that is $XDG_CONFIG_HOME for as long as it lives; FARCALL_* are unset.
struct Home {
  Home() {
    std::string made = (std::filesystem::temp_directory_path() / "farcall-test-XXXXXX").string();
    REQUIRE(::mkdtemp(made.data()) != nullptr);
    folder = made;
    ::setenv("XDG_CONFIG_HOME", made.c_str(), 1);
    for (const char* name : {"FARCALL_SERVER", "FARCALL_CERT", "FARCALL_KEY", "FARCALL_CA"}) {
      ::unsetenv(name);
    }
  }
  ~Home() { std::filesystem::remove_all(folder); }
  void configure(const std::string& text) {
    std::filesystem::create_directories(folder / "farcall");
    std::ofstream(folder / "farcall" / "config.toml") << text;
  }
  std::filesystem::path folder;
};

}  // namespace

TEST_CASE("a flag beats a variable, and a variable beats the configuration file") {
  Home home;
  home.configure("server = 'file:1'\ncert = 'file.crt'\nkey = 'file.key'\nca = 'file-ca.crt'\n");
  ::setenv("FARCALL_CERT", "variable.crt", 1);
  ::setenv("FARCALL_KEY", "variable.key", 1);
  Connection connection;
  connection.key = "flag.key";
  REQUIRE(complete(&connection).ok());
  CHECK(connection.key == "flag.key");
  CHECK(connection.certificate == "variable.crt");
  CHECK(connection.server == "file:1");
  CHECK(connection.ca == "file-ca.crt");
}

TEST_CASE("a missing setting is told with the three places to put it") {
  Home home;
  Connection connection;
  Status status = complete(&connection);
  CHECK(status.code() == Code::kNotFound);
  for (const char* place : {"--server", "FARCALL_SERVER", "config.toml"}) {
    CHECK(status.text().find(place) != std::string::npos);
  }
}

TEST_CASE("an unknown key or a broken configuration file is an error that names the file") {
  Home home;
  home.configure("sever = 'gpu1:7717'\n");
  Connection connection;
  CHECK(complete(&connection).text().find("'sever'") != std::string::npos);
  home.configure("server = \n");
  connection = {};
  CHECK(complete(&connection).text().find("config.toml line 1") != std::string::npos);
}

TEST_CASE("bytes are shown with the unit that keeps them short") {
  CHECK(with_unit(812) == "812 B");
  CHECK(with_unit(1536) == "1.5 KiB");
  CHECK(with_unit(3.0 * 1024 * 1024 * 1024) == "3.0 GiB");
}

TEST_CASE("a session's figures become lines, and nothing becomes nothing") {
  Home home;
  CHECK(summarize(home.folder / "absent.json").empty());
  std::ofstream(home.folder / "stats.json")
      << R"({"server": "gpu1:7717", "device": "GPU", "link": "tcp, AES-256-GCM", "round_trips": 12,
             "calls": {"local": {"total": 3}, "queued": {"total": 100}, "sync": {"total": 12},
                       "cached": {"total": 1}}})";
  const std::string text = summarize(home.folder / "stats.json");
  CHECK(text.find("116: 3 answered locally, 1 cached, 100 queued, 12 waited for") !=
        std::string::npos);
  CHECK(text.find("AES-256-GCM") != std::string::npos);
}

TEST_CASE("a child's exit code and signal are its own") {
  CHECK(Child::start({"sh", "-c", "exit 7"}, "").value().wait() == 7);
  CHECK(Child::start({"sh", "-c", "kill -9 $$"}, "").value().wait() == 128 + 9);
  CHECK(Child::start({"/nonexistent/program"}, "/dev/null").value().wait() == kExitNotFound);
}

TEST_CASE("a child that is dropped is ended") {
  Home home;
  const std::string note = home.folder / "pid";
  pid_t pid = 0;
  {
    Child child = Child::start({"sh", "-c", "echo $$ > " + note + "; exec sleep 1000"}, "").value();
    while (!(std::ifstream(note) >> pid)) REQUIRE(child.is_running());
    CHECK(::kill(pid, 0) == 0);
  }
  CHECK(::kill(pid, 0) == -1);  // ended, and reaped
}
