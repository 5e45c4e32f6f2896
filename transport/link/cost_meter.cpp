#include "transport/link/cost_meter.h"

#include <algorithm>
#include <ctime>

namespace farcall::link {
namespace {

void add(std::atomic<std::uint64_t>& counter, std::uint64_t more) {
  counter.store(counter.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}

std::uint64_t get(const std::atomic<std::uint64_t>& counter) {
  return counter.load(std::memory_order_relaxed);
}

bool is_long(const CostSample& sample) { return sample.bytes >= limits::kLongRecordBytes; }

std::int64_t now_ns(bool of_thread) {
  timespec now{};
  ::clock_gettime(of_thread ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// What is seen between two looks at the clock with nothing between them.
std::int64_t clock_ns(bool of_thread) {
  std::int64_t least = INT64_MAX;
  for (int i = 0; i < 16; ++i) {
    const std::int64_t begun = now_ns(of_thread);
    least = std::min(least, now_ns(of_thread) - begun);
  }
  return least;
}

std::int64_t own_ns(bool of_thread) {
  static const std::int64_t monotonic = clock_ns(false);
  if (!of_thread) return monotonic;
  static const std::int64_t thread = clock_ns(true);
  return thread;
}

}  // namespace

// The gaps are by chance, between none and twice as many as on average: calls come in patterns.
std::uint32_t CostMeter::draw(std::uint64_t records, std::uint32_t each) {
  const std::uint64_t wanted = std::clamp<std::uint64_t>(records / 4, 1, each);
  random_ ^= random_ << 13;
  random_ ^= random_ >> 17;
  random_ ^= random_ << 5;
  return random_ % (2 * static_cast<std::uint32_t>(wanted) - 1);
}

CostSample CostMeter::count(std::size_t bytes) {
  CostSample sample{.bytes = static_cast<std::uint32_t>(bytes)};
  Class& its = class_of(bytes);
  add(its.records, 1);
  add(its.bytes, bytes);
  if (its.skip > 0) {
    --its.skip;
    return sample;
  }
  its.skip = draw(get(its.records),
                  is_long(sample) ? limits::kLongRecordsEach : limits::kShortRecordsEach);
  sample.timed = true;
  return sample;
}

void CostMeter::start(CostSample& sample) {
  if (!sample.timed) return;
  (void)own_ns(is_long(sample));  // measured before it is needed
  sample.begun_ns = now_ns(is_long(sample));
}

std::int64_t CostMeter::stop(const CostSample& sample) {
  if (!sample.timed) return -1;
  const std::int64_t took_ns = now_ns(is_long(sample)) - sample.begun_ns - own_ns(is_long(sample));
  return std::max<std::int64_t>(took_ns, 0);
}

void CostMeter::take(const CostSample& sample, std::int64_t ns) {
  if (!sample.timed || ns < 0) return;
  if (!is_long(sample) && ns > limits::kShortRecordNsMost) return;
  Class& its = class_of(sample.bytes);
  add(its.timed_weight, sample.bytes + limits::kRecordCostBytes);
  add(its.timed_ns, static_cast<std::uint64_t>(ns));
}

CostSample CostMeter::begin(std::size_t bytes) {
  CostSample sample = count(bytes);
  start(sample);
  return sample;
}

void CostMeter::end(const CostSample& sample) {
  if (sample.timed) take(sample, stop(sample));
}

RecordCost CostMeter::read() const {
  RecordCost all;
  for (const Class& each : classes_) {
    const std::uint64_t records = get(each.records);
    const std::uint64_t bytes = get(each.bytes);
    const std::uint64_t timed = get(each.timed_weight);
    all.records += records;
    all.bytes += bytes;
    if (timed == 0) continue;
    const double weight =
        static_cast<double>(bytes) +
        static_cast<double>(records) * static_cast<double>(limits::kRecordCostBytes);
    all.ns += static_cast<std::uint64_t>(static_cast<double>(get(each.timed_ns)) * weight /
                                         static_cast<double>(timed));
  }
  return all;
}

}  // namespace farcall::link
