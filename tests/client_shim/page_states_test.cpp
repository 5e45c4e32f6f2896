// Which side has the bytes: the state machine alone, without pages or faults.
#include "client_shim/page_states.h"

#include <doctest/doctest.h>

#include <random>

namespace farcall::shim {
namespace {

constexpr std::size_t kBlock = kMirrorBlockBytes;
using Run = PageStates::Run;

// Memory of which both sides hold a copy, and what it should be. Blocks move as the states say.
class Model {
 public:
  explicit Model(std::size_t bytes)
      : states(bytes, PageState::kFresh), truth(bytes), program(bytes), device(bytes, -1) {}

  void write(std::size_t at, int value) {
    touch(at, true);
    program[at] = truth[at] = value;
  }
  void read(std::size_t at) {
    touch(at, false);
    CHECK(program[at] == truth[at]);
  }
  void launch(std::size_t at, int value) {
    send(0, truth.size());
    states.lent(0, truth.size());
    CHECK(device[at] == truth[at]);
    device[at] = truth[at] = value;
  }
  // A copy on the device from one place to another.
  void copy(std::size_t to, std::size_t from) {
    send(from, 1);
    states.shared(from, 1);
    send(to, 1);
    states.lent(to, 1);
    CHECK(device[from] == truth[from]);
    device[to] = truth[to] = truth[from];
  }

  PageStates states;

 private:
  void touch(std::size_t at, bool is_write) {
    auto need = states.touch(at, is_write);
    if (need.run.bytes == 0) return;
    CHECK((at >= need.run.at && at - need.run.at < need.run.bytes));
    for (std::size_t i = 0; need.fetch && i < need.run.bytes; ++i) {
      program[need.run.at + i] = device[need.run.at + i];
    }
    states.opened(need);
  }
  void send(std::size_t at, std::size_t bytes) {
    for (const Run& run : states.dirty(at, bytes)) {
      for (std::size_t i = run.at; i < run.at + run.bytes; ++i) device[i] = program[i];
    }
  }
  std::vector<int> truth, program, device;
};

}  // namespace

TEST_CASE("whatever program and device do in turn, each sees what was written last") {
  const std::size_t bytes = 5 * kBlock + 100;
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    Model model(bytes);
    for (int step = 0; step < 300; ++step) {
      const std::size_t at = random() % bytes;
      switch (random() % 4) {
        case 0: model.write(at, step); break;
        case 1: model.read(at); break;
        case 2: model.launch(at, step); break;
        default: model.copy(at, random() % bytes);
      }
    }
  }
}

TEST_CASE(
    "only what was written goes to the device, and the last block ends where the memory does") {
  PageStates states(2 * kBlock + 7, PageState::kDevice);
  CHECK(states.held() == 0);
  auto need = states.touch(2 * kBlock + 6, true);
  CHECK(need.fetch);
  CHECK(need.run.at == 2 * kBlock);
  CHECK(need.run.bytes == 7);
  states.opened(need);
  states.opened(states.touch(0, false));
  CHECK(states.held() == 2);
  auto dirty = states.dirty(0, states.bytes());
  REQUIRE(dirty.size() == 1);
  CHECK(dirty[0].at == 2 * kBlock);
  states.lent(0, states.bytes());
  CHECK(states.held() == 0);
  CHECK(states.dirty(0, states.bytes()).empty());
}

TEST_CASE("a move that failed changes nothing") {
  PageStates states(kBlock, PageState::kDevice);
  static_cast<void>(states.touch(0, true));
  CHECK(states.at(0) == PageState::kDevice);
  CHECK(states.touch(0, true).fetch);
}

TEST_CASE("who goes on where the last fetch ended gets more at once, up to a bound") {
  const std::size_t blocks = 4 * kMirrorAheadMax;
  PageStates states(blocks * kBlock, PageState::kDevice);
  std::size_t at = 0, fetches = 0, largest = 0;
  while (at < states.bytes()) {
    auto need = states.touch(at, false);
    REQUIRE(need.run.bytes > 0);
    largest = std::max(largest, need.run.bytes);
    states.opened(need);
    at = need.run.at + need.run.bytes;
    ++fetches;
  }
  CHECK(largest == kMirrorAheadMax * kBlock);
  CHECK(fetches < 12);
  // Here and there: a block each.
  states.lent(0, states.bytes());
  CHECK(states.touch(9 * kBlock, false).run.bytes == kBlock);
}

TEST_CASE("what a program may only read it fetches again when that has expired") {
  PageStates states(3 * kBlock, PageState::kDevice);
  states.opened(states.touch(0, false));
  states.opened(states.touch(2 * kBlock, true));
  auto expired = states.expire();
  REQUIRE(expired.size() == 1);
  CHECK(expired[0].at == 0);
  CHECK(states.at(0) == PageState::kDevice);
  CHECK(states.at(2 * kBlock) == PageState::kHost);
}

}  // namespace farcall::shim
