// Figures: what a benchmark measured, as a table for people and as JSON for programs.
//
//   Figures figures;
//   figures.add("launch", "us", measure(9, [] { return seconds_of_one_launch(); }, 1e6));
//   figures.print();  figures.write("out.json");
//
// Each figure is the median of its rounds, with the lowest and the highest beside it.
// Owner: plain values.  Threads: one.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

namespace farcall::bench {

struct Spread {
  double median = 0, lowest = 0, highest = 0;
};

inline Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

// Runs `body` and says how many seconds it took.
template <class Body>
double seconds(const Body& body) {
  const auto begin = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

class Figures {
 public:
  void add(const std::string& name, const std::string& unit, const std::vector<double>& rounds) {
    rows_.push_back({name, unit, spread_of(rounds)});
  }

  void print() const {
    std::printf("%-34s %12s %12s %12s\n", "", "median", "lowest", "highest");
    for (const Row& row : rows_) {
      std::printf("%-34s %12.3f %12.3f %12.3f %s\n", row.name.c_str(), row.spread.median,
                  row.spread.lowest, row.spread.highest, row.unit.c_str());
    }
  }

  // False when the file cannot be written.
  bool write(const std::string& path) const {
    std::FILE* file = std::fopen(path.c_str(), "w");
    if (file == nullptr) return false;
    std::fprintf(file, "[");
    for (std::size_t i = 0; i < rows_.size(); i++) {
      const Row& row = rows_[i];
      std::fprintf(file,
                   "%s\n  {\"name\": \"%s\", \"unit\": \"%s\", \"median\": %.6g, \"lowest\": %.6g, "
                   "\"highest\": %.6g}",
                   i == 0 ? "" : ",", row.name.c_str(), row.unit.c_str(), row.spread.median,
                   row.spread.lowest, row.spread.highest);
    }
    std::fprintf(file, "\n]\n");
    return std::fclose(file) == 0;
  }

 private:
  struct Row {
    std::string name, unit;
    Spread spread;
  };
  std::vector<Row> rows_;
};

}  // namespace farcall::bench
