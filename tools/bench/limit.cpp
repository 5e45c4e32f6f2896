// bench_limit: what this machine can do at best with every byte sealed. A bare program seals a
// record, moves it to another core and opens it there; no calls, no frames, no driver. Farcall's
// own figures are to be read beside these.
//
//   bench_limit [--json FILE] [--rounds N] [--quick]
//
// Two threads, each on a core of its own, both spinning; over TCP on the loopback interface and
// over a ring in a memfd; with every engine this build has. Each round measures everything once, so
// that what disturbs the machine disturbs all figures alike; the figure is the median of the
// rounds.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <barrier>
#include <cstdlib>
#include <cstring>
#include <map>
#include <thread>

#include "tools/bench/figures.h"
#include "tools/bench/limit_pipe.h"
#include "transport/link/engine.h"

namespace farcall::bench {
namespace {

using link::Aead;
using link::Engine;

constexpr std::size_t kTag = limits::kRecordTagBytes;
constexpr std::size_t kMiB = std::size_t{1} << 20;

// One direction of one connection: sequence and key, and nothing else a session has.
struct Sealed {
  std::unique_ptr<Aead> aead;
  std::uint64_t sequence = 0;
  std::array<std::byte, 12> nonce{};
  std::array<std::byte, 24> associated{};

  Sealed(Engine engine, Aead::Use use) {
    std::array<std::byte, 32> key{};
    key[0] = std::byte{42};
    auto made = link::make_aead(engine, key, use);
    if (!made.ok()) die(made.status().to_string().c_str());
    aead = std::move(made).value();
  }
  void next() {
    ++sequence;
    std::memcpy(nonce.data(), &sequence, sizeof(sequence));
    std::memcpy(associated.data() + 16, &sequence, sizeof(sequence));
  }
  void send(Pipe& pipe, std::span<const std::byte> plain) {
    next();
    std::span<std::byte> slot = pipe.reserve(kHeader + plain.size() + kTag);
    if (!aead->seal(nonce, associated, plain, slot.subspan(kHeader))) die("seal");
    pipe.commit(slot);
  }
  void receive(Pipe& pipe, std::span<std::byte> plain) {
    next();
    std::span<const std::byte> record = pipe.take(kHeader + plain.size() + kTag);
    if (!aead->open(nonce, associated, record.subspan(kHeader), plain)) die("open");
    pipe.release();
  }
};

void pin(int nth) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  ::sched_getaffinity(0, sizeof(allowed), &allowed);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed) || nth-- > 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ::sched_setaffinity(0, sizeof(one), &one);
    return;
  }
}

// Runs `far` on the second core while `near` runs on the first; seconds of `near`.
template <class Near, class Far>
double both(const Near& near, const Far& far) {
  std::barrier start(2);
  double took = 0;
  std::thread other([&] {
    pin(1);
    start.arrive_and_wait();
    far();
  });
  std::thread self([&] {
    pin(0);
    start.arrive_and_wait();
    took = seconds(near);
  });
  self.join();
  other.join();
  return took;
}

double round_trip_us(Ends ends, Engine engine, int times) {
  Sealed ask(engine, Aead::Use::kSeal), hear(engine, Aead::Use::kOpen);
  Sealed answer(engine, Aead::Use::kSeal), take(engine, Aead::Use::kOpen);
  std::array<std::byte, 64> text{}, far_text{};
  const auto near = [&] {
    for (int i = 0; i < times; ++i) {
      ask.send(*ends.near, text);
      take.receive(*ends.near, text);
    }
  };
  const auto far = [&] {
    for (int i = 0; i < times; ++i) {
      hear.receive(*ends.far, far_text);
      answer.send(*ends.far, far_text);
    }
  };
  return both(near, far) * 1e6 / times;
}

// `from` to `to`, `times` over, in records of at most `record` bytes, the first of at most 64 KiB;
// each time the far end says when it has opened the last one.
double copy_gb_s(Ends ends, Engine engine, std::size_t record, std::span<std::byte> from,
                 std::span<std::byte> to) {
  Sealed out(engine, Aead::Use::kSeal), in(engine, Aead::Use::kOpen);
  Sealed done(engine, Aead::Use::kSeal), heard(engine, Aead::Use::kOpen);
  const std::size_t times = std::max<std::size_t>(1, 16 * kMiB / from.size());
  const auto each = [&](const auto& body) {
    for (std::size_t at = 0; at < from.size();) {
      const std::size_t most = at == 0 ? limits::kBulkFirstRecordBytes : record;
      const std::size_t bytes = std::min(most, from.size() - at);
      body(at, bytes);
      at += bytes;
    }
  };
  std::array<std::byte, 64> word{}, near_word{};
  const auto near = [&] {
    for (std::size_t i = 0; i < times; ++i) {
      each([&](std::size_t at, std::size_t bytes) {
        out.send(*ends.near, from.subspan(at, bytes));
      });
      heard.receive(*ends.near, near_word);
    }
  };
  const auto far = [&] {
    for (std::size_t i = 0; i < times; ++i) {
      each(
          [&](std::size_t at, std::size_t bytes) { in.receive(*ends.far, to.subspan(at, bytes)); });
      done.send(*ends.far, word);
    }
  };
  const double took = both(near, far);
  if (std::memcmp(from.data(), to.data(), from.size()) != 0) die("the copy is not the original");
  return static_cast<double>(from.size() * times) / took / 1e9;
}

struct Memory {
  explicit Memory(std::size_t bytes) : bytes(bytes) {
    void* made = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (made == MAP_FAILED) die("mmap");
    at = static_cast<std::byte*>(made);
  }
  ~Memory() { ::munmap(at, bytes); }
  std::span<std::byte> first(std::size_t count) const { return {at, count}; }
  std::byte* at = nullptr;
  std::size_t bytes;
};

using Rounds = std::map<std::string, std::vector<double>>;

void one_round(Rounds& rounds, const Memory& from, const Memory& to, bool quick) {
  constexpr std::pair<const char*, std::size_t> kSizes[] = {
      {"1 MiB", kMiB}, {"16 MiB", 16 * kMiB}, {"256 MiB", 256 * kMiB}};
  for (Engine engine : link::usable_engines()) {
    const std::string by(to_string(engine));
    for (const auto& [name, make] : {std::pair("tcp", &make_tcp), std::pair("shm", &make_ring)}) {
      const std::string over = std::string(name) + " " + by + ", ";
      rounds[over + "round trip 64 B (us)"].push_back(
          round_trip_us(make(), engine, quick ? 2000 : 10000));
      for (const auto& [label, bytes] : kSizes) {
        if (bytes > from.bytes) continue;
        for (std::size_t record : {std::size_t{64} << 10, std::size_t{256} << 10}) {
          const std::string what = over + std::to_string(record / 1024) + " KiB records, " + label;
          rounds[what + " (GB/s)"].push_back(
              copy_gb_s(make(), engine, record, from.first(bytes), to.first(bytes)));
        }
      }
    }
  }
}

int run(int argc, char** argv) {
  std::string json;
  int count = 7;
  bool quick = false;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--json" && i + 1 < argc) {
      json = argv[++i];
    } else if (word == "--rounds" && i + 1 < argc) {
      count = std::max(1, std::atoi(argv[++i]));
    } else if (word == "--quick") {
      quick = true;
    } else {
      std::fprintf(stderr, "usage: bench_limit [--json FILE] [--rounds N] [--quick]\n");
      return 2;
    }
  }
  if (quick) count = std::min(count, 3);
  const Memory from((quick ? 16 : 256) * kMiB), to(from.bytes);
  for (std::size_t i = 0; i < from.bytes; ++i) from.at[i] = static_cast<std::byte>(i * 31 >> 3);
  Rounds rounds;
  for (int i = 0; i < count; ++i) one_round(rounds, from, to, quick);
  Figures figures;
  for (const auto& [name, values] : rounds) {
    const std::size_t unit = name.rfind(" (");
    figures.add(name.substr(0, unit), name.substr(unit + 2, name.size() - unit - 3), values);
  }
  figures.print();
  if (!json.empty() && !figures.write(json)) die("write the JSON file");
  return 0;
}

}  // namespace
}  // namespace farcall::bench

int main(int argc, char** argv) { return farcall::bench::run(argc, argv); }
