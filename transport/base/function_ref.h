// FunctionRef: a borrowed callable, for a callback that is used before the call returns.
//
//   void for_each(FunctionRef<void(const Entry&)> visit);
//
// Owner: nobody; the callable must outlive the call it is passed to.  Never allocates.
#pragma once
#include <type_traits>
#include <utility>

namespace farcall {

template <class Signature>
class FunctionRef;

template <class R, class... A>
class FunctionRef<R(A...)> {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
      FunctionRef(F&& callable)  // NOLINT: conversion is the point
      : object_(const_cast<void*>(static_cast<const void*>(&callable))),
        invoke_([](void* object, A... arguments) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<A>(arguments)...);
        }) {}
  R operator()(A... arguments) const { return invoke_(object_, std::forward<A>(arguments)...); }

 private:
  void* object_;
  R (*invoke_)(void*, A...);
};

}  // namespace farcall
