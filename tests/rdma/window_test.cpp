// What a peer may say of its records over RDMA, and what ends the link.
#include <doctest/doctest.h>

#include <random>
#include <string>

#include "transport/link/record.h"
#include "transport/link/ucx/window.h"

using namespace farcall;
using namespace farcall::ucx;

namespace {

int byte;  // stands for every record

std::string hear(Window& window, MessageHeader header) {
  MessageHeader out;
  const char* wrong = window.hear(&header, sizeof header, &out);
  return wrong == nullptr ? "" : wrong;
}

std::string keep(Window& window, std::uint64_t number, std::size_t bytes = 100) {
  const char* wrong = window.keep(number, &byte, bytes);
  return wrong == nullptr ? "" : wrong;
}

std::string end_at(Window& window, std::uint64_t number) {
  const char* wrong = window.end_at(number);
  return wrong == nullptr ? "" : wrong;
}

}  // namespace

TEST_CASE("records are put in order, whatever the order of their coming") {
  Window window;
  CHECK(keep(window, 2) == "");
  CHECK(window.first().data == nullptr);
  CHECK(keep(window, 0) == "");
  CHECK(keep(window, 1) == "");
  for (int i = 0; i < 3; ++i) {
    REQUIRE(window.first().data != nullptr);
    window.release();
  }
  CHECK(window.first().data == nullptr);
  CHECK(window.released() == 3);
}

TEST_CASE("a record outside the window, twice or of no length is refused") {
  Window window;
  for (std::uint64_t number = 0; number < Window::kRecords; ++number) {
    CHECK(keep(window, number) == "");
  }
  CHECK(keep(window, Window::kRecords) == "a record outside the window");
  CHECK(keep(window, 3) == "a record that came twice");
  window.release();
  CHECK(keep(window, 0) == "a record outside the window");  // long gone
  CHECK(keep(window, Window::kRecords) == "");
  CHECK(keep(window, UINT64_MAX) == "a record outside the window");
  CHECK(keep(window, Window::kRecords + 1, 0) == "a record of impossible length");
  CHECK(keep(window, Window::kRecords + 1, link::kSealedBytesMax + 1) ==
        "a record of impossible length");
}

TEST_CASE("room comes back only by what was sent and is released") {
  Window window;
  for (std::size_t i = 0; i < Window::kRecords; ++i) {
    CHECK(window.has_room());
    CHECK(window.next_number() == i);
  }
  CHECK_FALSE(window.has_room());
  CHECK(hear(window, {0, Window::kRecords + 1}) ==
        "the peer has done with records that were not sent");
  CHECK_FALSE(window.has_room());
  CHECK(hear(window, {0, 1}) == "");
  CHECK(window.has_room());
  CHECK(hear(window, {0, 0}) == "");  // an older word, overtaken
  CHECK(window.has_room());
  MessageHeader out;
  CHECK(window.hear(&out, 15, &out) != nullptr);
  CHECK(window.hear(&out, 0, &out) != nullptr);
}

TEST_CASE("an end is final, and not before what came") {
  Window window;
  CHECK(keep(window, 1) == "");
  CHECK(end_at(window, 1) == "an end before a record");
  CHECK(end_at(window, Window::kRecords + 1) == "an end outside the window");
  CHECK(end_at(window, 2) == "");
  CHECK(end_at(window, 2) == "");
  CHECK(end_at(window, 3) == "a second end");
  CHECK(keep(window, 2) == "a record outside the window");
  CHECK_FALSE(window.ended());
  CHECK(keep(window, 0) == "");  // still on its way when the end was heard
  window.release();
  window.release();
  CHECK(window.ended());
}

TEST_CASE("whatever a peer says, no more than a window is held and numbers never run away") {
  std::mt19937_64 random(7);
  for (int round = 0; round < 300; ++round) {
    Window window;
    for (int step = 0; step < 300; ++step) {
      const std::uint64_t near = window.released() + random() % 20 - 2;
      const std::uint64_t number = random() % 8 == 0 ? random() : near;
      switch (random() % 6) {
        case 0: hear(window, {number, random() % 8 == 0 ? random() : window.sent()}); break;
        case 1:
          if (random() % 30 == 0) end_at(window, number);
          break;
        case 2:
          if (window.has_room()) window.next_number();
          break;
        case 3:
          if (window.first().data != nullptr) window.release();
          break;
        default: keep(window, number); break;
      }
      std::size_t held = 0;
      for (const Arrived& record : window.held()) held += record.data != nullptr;
      REQUIRE(held <= Window::kRecords);
      REQUIRE(window.sent() <= 300);
      REQUIRE(window.released() <= 300);
    }
  }
}
