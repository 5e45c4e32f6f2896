// TableLoop: both halves of the table back to back, without a link.
//
//   TableLoop loop;
//   loop.driver.cuMemAlloc_v2 = …;
//   CUresult status = api::call<api::row::cuMemAlloc_v2>(&address, bytes);
//   loop.requests, loop.last_request
//
// caller_ask() and its friends are defined in table_loop.cpp and find the newest TableLoop.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "transport/api/dispatch.h"
#include "transport/api/reply_cache.h"
#include "transport/base/limits.h"

namespace farcall::api {

class FakeHandles final : public Handles {
 public:
  void* find(Kind kind, std::uint64_t id) override {
    auto found = entries.find(id);
    return found == entries.end() || found->second.kind != kind ? nullptr : found->second.real;
  }
  std::uint64_t add(Kind kind, void* real, std::uint64_t parent) override {
    if (full) return 0;
    for (auto& [id, entry] : entries) {
      if (entry.kind == kind && entry.real == real) return id;
    }
    entries[++last] = {kind, real, parent};
    used.insert(last);
    return last;
  }
  bool is_taken(std::uint64_t id) override { return used.contains(id); }
  bool adopt(Kind kind, std::uint64_t id, void* real) override {
    if (full) return false;
    used.insert(id);
    return entries.try_emplace(id, Entry{kind, real, 0}).second;
  }
  void drop(Kind, std::uint64_t id) override { entries.erase(id); }
  CUstream thread_stream() override { return own_stream; }

  struct Entry {
    Kind kind;
    void* real;
    std::uint64_t parent;
  };
  std::map<std::uint64_t, Entry> entries;
  std::set<std::uint64_t> used;
  std::uint64_t last = kServerIdBit;
  bool full = false;
  CUstream own_stream = reinterpret_cast<CUstream>(0x5eed);
};

class TableLoop {
 public:
  TableLoop();
  ~TableLoop();
  TableLoop(const TableLoop&) = delete;
  TableLoop& operator=(const TableLoop&) = delete;
  static TableLoop& current();

  // Runs a request as the server would; the reply is in `reply`.
  Verdict serve(std::uint16_t id, std::span<const std::byte> body);
  CUresult reply_status() const;

  Driver driver;
  FakeHandles handles;
  ReplyCache cache;
  std::set<std::string> names;
  std::vector<std::byte> last_request;
  std::vector<std::byte> reply;
  Verdict verdict = Verdict::kAnswered;
  CUresult deferred = CUDA_SUCCESS;  // what the last Queued call came to
  int requests = 0;
  bool use_cache = false;

 private:
  std::vector<std::byte> arguments_;
  TableLoop* const outer_;
};

}  // namespace farcall::api
