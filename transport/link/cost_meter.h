// CostMeter: what sealing records takes of the processor, or opening them, measured by samples.
//
//   const CostSample sample = meter.begin(plain.size());   // counts the record; most are not timed
//   …seal…
//   meter.end(sample);
//   RecordCost cost = meter.read();                        // any thread, at any moment
//
// Timing every record would cost more than sealing a short one. So records are timed by chance, one
// of limits::kShortRecordsEach or kLongRecordsEach, more of the first ones; what the others took
// follows from their number and bytes, short and long ones apart. The clock's own time is taken
// off. Long records, which may well be interrupted, are timed by the thread's processor time.
// A record may be timed on another thread than it is counted on: begin_elsewhere().
// Owner: a lane, one for each direction.  Threads: one, but for read().
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "transport/base/limits_cost.h"

namespace farcall::link {

struct RecordCost {
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;  // of text
  std::uint64_t ns = 0;     // of processor time, as far as it is known from samples
};

// A record that is being sealed or opened.
struct CostSample {
  std::uint32_t bytes = 0;
  bool timed = false;
  std::int64_t begun_ns = 0;
};

class CostMeter {
 public:
  CostSample begin(std::size_t bytes);
  void end(const CostSample& sample);

  // The same where the work is done elsewhere: count() here, then start() and stop() there, and
  // take() what stop() said here again. Negative: it was not timed.
  CostSample count(std::size_t bytes);
  static void start(CostSample& sample);
  static std::int64_t stop(const CostSample& sample);
  void take(const CostSample& sample, std::int64_t ns);

  RecordCost read() const;

 private:
  // Written by one thread, read by any.
  struct Class {
    std::atomic<std::uint64_t> records{0};
    std::atomic<std::uint64_t> bytes{0};
    std::atomic<std::uint64_t> timed_weight{0};  // bytes and kRecordCostBytes of those timed
    std::atomic<std::uint64_t> timed_ns{0};
    std::uint32_t skip = 0;  // records until the next that is timed
  };
  Class& class_of(std::size_t bytes) { return classes_[bytes >= limits::kLongRecordBytes ? 1 : 0]; }
  std::uint32_t draw(std::uint64_t records, std::uint32_t each);

  Class classes_[2];  // short records, long ones
  std::uint32_t random_ = 0x9e3779b9;
};

}  // namespace farcall::link
