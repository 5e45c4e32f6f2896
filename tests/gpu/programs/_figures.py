"""What the framework programs share: skipping, repeatable results, and times as JSON.

    figures = Figures()
    torch = figures.need("torch")
    figures.time("training step", "ms", lambda: step(), synchronize=torch.cuda.synchronize)
    print("loss", figures.rounded(loss))
    figures.write()

What is printed must be the same on every run; times go to the file that --json names.
"""
import importlib
import json
import statistics
import sys
import time

SKIPPED = 77
ROUNDS = 30
WARM_UP = 5


class Figures:
    def __init__(self):
        self.rows = []

    def need(self, name):
        try:
            return importlib.import_module(name)
        except ImportError as missing:
            return self.skip(f"no {name} here: {missing}")

    @staticmethod
    def skip(why):
        print(why)
        sys.exit(SKIPPED)

    def time(self, name, unit, body, synchronize, rounds=ROUNDS):
        """Median of `rounds`, in "ms" or "us"."""
        for _ in range(WARM_UP):
            body()
        synchronize()
        times = []
        for _ in range(rounds):
            begin = time.perf_counter()
            body()
            synchronize()
            times.append((time.perf_counter() - begin) * {"ms": 1e3, "us": 1e6}[unit])
        self.rows.append({"name": name, "unit": unit, "median": statistics.median(times),
                          "lowest": min(times), "highest": max(times)})

    def rate(self, name, gigabytes, body, synchronize, rounds=8):
        """GB/s of something that moves `gigabytes`."""
        body()
        synchronize()
        rates = []
        for _ in range(rounds):
            begin = time.perf_counter()
            body()
            synchronize()
            rates.append(gigabytes / (time.perf_counter() - begin))
        self.rows.append({"name": name, "unit": "GB/s", "median": statistics.median(rates),
                          "lowest": min(rates), "highest": max(rates)})

    @staticmethod
    def rounded(value):
        """Three digits: more than a race between atomics can change."""
        return f"{float(value):.3g}"

    def write(self):
        if "--json" in sys.argv:
            with open(sys.argv[sys.argv.index("--json") + 1], "w", encoding="utf-8") as file:
                json.dump(self.rows, file, indent=1)
