// Every row, with no code per function. For a row it makes up arguments from the words, makes a
// driver function that looks at its inputs and fills its outputs, and then checks (every_row.cpp):
//
//   echo        the driver sees what the caller passed, the caller gets what the driver wrote
//   failure     a failing or missing driver function is that status, and no output is touched
//   null        a null output that must not be null is refused before anything is sent
//   handles     an unknown handle, or one of another kind, never reaches the driver
//   truncation  every strict prefix of the request is refused
//   corruption  every 32-bit word overwritten: answered or refused, never a crash
//
// Only what needs the row's types is in templates here.
#pragma once
#include "tests/transport/api/made_driver.h"
#include "transport/api/client_call.h"

namespace farcall::api {

// A made-up call of one row, its types hidden.
class RowCase {
 public:
  explicit RowCase(TableLoop& loop, int attribute) : arena(loop, attribute) {}
  virtual ~RowCase() = default;
  virtual CUresult run() = 0;
  virtual std::uint64_t digest(FakeHandles& handles) = 0;
  virtual bool filled(TableLoop& loop) = 0;
  virtual void* argument(std::size_t index) = 0;  // where it is; a pointer or handle has 8 bytes
  Arena arena;
};

struct RowFace {
  const RowInfo& info;
  std::span<const Kind> kinds;          // of handle parameters; kNone for others
  std::span<const bool> needs_pointer;  // null is CUDA_ERROR_INVALID_VALUE
  std::unique_ptr<RowCase> (*make)(TableLoop&);
  void (*set_driver)(Driver&, bool there);
};

// All checks above, for one row.
void check_row(const RowFace& face);

template <class T>
constexpr Kind kind_of_parameter() {
  if constexpr (Handle<T>) return kKindOf<T>;
  return Kind::kNone;
}

template <class Row, auto kMember, class Fn, class L>
struct RowTest;

template <class Row, auto kMember, class... A, class... W>
struct RowTest<Row, kMember, CUresult(A...), Words<W...>> {
  static constexpr auto driver = MadeDriver<CUresult(A...), Words<W...>>::call;

  // A value for every integer parameter that each attribute table knows; 3 if it can be.
  static int attribute() {
    for (int value : {3, 1, 2, 4, 5, 6, 7, 8}) {
      if ((Word<W, A>::knows(value) && ...)) return value;
    }
    return 3;
  }

  struct Case final : RowCase {
    std::tuple<A...> arguments;
    explicit Case(TableLoop& loop)
        : RowCase(loop, attribute()), arguments{Word<W, A>::make(arena)...} {}
    CUresult run() override {
      return std::apply([](const A&... a) { return call<Row>(a...); }, arguments);
    }
    std::uint64_t digest(FakeHandles& handles) override {
      Digest expected(&handles);
      std::apply(
          [&](const A&... a) {
            [[maybe_unused]] const std::uint64_t counts[] = {count_now<W>(a)..., 0};
            (Word<W, A>::look(expected, a, counts), ...);
          },
          arguments);
      return expected.value;
    }
    bool filled([[maybe_unused]] TableLoop& loop) override {
      return std::apply([&](const A&... a) { return (Word<W, A>::filled(a, loop) && ...); },
                        arguments);
    }
    void* argument(std::size_t index) override {
      return std::apply(
          [index](A&... a) {
            void* all[] = {static_cast<void*>(&a)..., nullptr};
            return all[index];
          },
          arguments);
    }
  };

  static void check() {
    static constexpr Kind kKinds[] = {kind_of_parameter<A>()..., Kind::kNone};
    static constexpr bool kNeeds[] = {Word<W, A>::kNeedsPointer..., false};
    check_row(
        {Row::info(), std::span(kKinds).first(sizeof...(A)), std::span(kNeeds).first(sizeof...(A)),
         [](TableLoop& loop) -> std::unique_ptr<RowCase> { return std::make_unique<Case>(loop); },
         [](Driver& to, bool there) { to.*kMember = there ? driver : nullptr; }});
  }
};

}  // namespace farcall::api
