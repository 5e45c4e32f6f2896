#include "tests/transport/api/every_row.h"

#include <doctest/doctest.h>

#include <random>

namespace farcall::api {
namespace {

class RowCheck {
 public:
  explicit RowCheck(const RowFace& face) : face_(face) { face_.set_driver(loop_.driver, true); }

  // The call's status, wherever its When puts it.
  CUresult outcome(RowCase& made) {
    CUresult status = made.run();
    bool deferred = status == CUDA_SUCCESS && face_.info.when == When::Queued;
    return deferred ? loop_.deferred : status;
  }

  void echo() {
    auto made = face_.make(loop_);
    std::uint64_t expected = made->digest(loop_.handles);
    int before = seen().runs;
    CHECK(outcome(*made) == CUDA_SUCCESS);
    CHECK(seen().runs == before + 1);
    CHECK(seen().inputs == expected);
    CHECK(made->filled(loop_));
  }

  void failure() {
    auto made = face_.make(loop_);
    made->arena.remember();
    seen().status = CUDA_ERROR_ILLEGAL_ADDRESS;
    CHECK(outcome(*made) == CUDA_ERROR_ILLEGAL_ADDRESS);
    seen().status = CUDA_SUCCESS;
    // A minted handle is the caller's as soon as the call is on its way.
    if (face_.info.when != When::Queued) CHECK(made->arena.untouched());
  }

  void missing() {
    auto made = face_.make(loop_);
    face_.set_driver(loop_.driver, false);
    CHECK(outcome(*made) == CUDA_ERROR_NOT_SUPPORTED);
    face_.set_driver(loop_.driver, true);
  }

  void null_outputs() {
    for (std::size_t i = 0; i < face_.needs_pointer.size(); ++i) {
      if (!face_.needs_pointer[i]) continue;
      auto made = face_.make(loop_);
      set(*made, i, 0);
      int before = loop_.requests;
      CHECK(made->run() == CUDA_ERROR_INVALID_VALUE);
      CHECK(loop_.requests == before);
    }
  }

  void wrong_handles() {
    for (std::size_t i = 0; i < face_.kinds.size(); ++i) {
      Kind kind = face_.kinds[i];
      if (kind == Kind::kNone) continue;
      Kind other = kind == Kind::kEvent ? Kind::kModule : Kind::kEvent;
      for (std::uint64_t id : {loop_.handles.add(other, &loop_, 0), std::uint64_t{0xbad000}}) {
        auto made = face_.make(loop_);
        set(*made, i, id);
        int before = seen().runs;
        CHECK(outcome(*made) == bad_handle(kind));
        CHECK(loop_.verdict == Verdict::kAnswered);
        CHECK(seen().runs == before);
      }
    }
  }

  void truncation() {
    std::vector<std::byte> whole = request();
    int before = seen().runs;
    for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
      std::vector<std::byte> part(whole.begin(),
                                  whole.begin() + static_cast<std::ptrdiff_t>(bytes));
      if (loop_.serve(face_.info.id, part) != Verdict::kMalformed) {
        FAIL_CHECK("a prefix was taken for a request");
      }
    }
    whole.push_back(std::byte{0});
    CHECK(loop_.serve(face_.info.id, whole) == Verdict::kMalformed);
    CHECK(seen().runs == before);
  }

  void corruption() {
    const std::vector<std::byte> whole = request();
    std::mt19937 random(face_.info.id);
    for (std::size_t at = 0; at + 4 <= whole.size(); ++at) {
      for (std::uint32_t bad : {0u, ~0u, 0x7fffffffu, 2u, static_cast<std::uint32_t>(random())}) {
        std::vector<std::byte> body = whole;
        std::memcpy(&body[at], &bad, sizeof(bad));
        loop_.serve(face_.info.id, body);
      }
    }
  }

 private:
  static void set(RowCase& made, std::size_t index, std::uint64_t value) {
    std::memcpy(made.argument(index), &value, sizeof(value));
  }
  // A good request whose handles are still known and whose minted ids are not.
  std::vector<std::byte> request() {
    cases_.push_back(face_.make(loop_));
    FakeHandles before = loop_.handles;
    cases_.back()->run();
    loop_.handles = before;
    return loop_.last_request;
  }

  const RowFace& face_;
  TableLoop loop_;
  std::vector<std::unique_ptr<RowCase>> cases_;
};

}  // namespace

void check_row(const RowFace& face) {
  CAPTURE(face.info.name);
  RowCheck check(face);
  check.echo();
  check.failure();
  check.missing();
  check.null_outputs();
  check.wrong_handles();
  check.truncation();
  check.corruption();
}

}  // namespace farcall::api
