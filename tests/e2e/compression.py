#!/usr/bin/env python3
"""Payloads that are compressed: the same results in fewer bytes, and only where both ends want it.

Usage: compression.py BUILD payloads | refused | unknown    as tests
       compression.py BUILD table [MBIT…]                   measures and prints the table of
                                                            tools/bench/results
"""
import json
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from pool import Pool, expect, main, program, run  # noqa: E402
from slow_link import SlowLink, round_trips  # noqa: E402

# One copy in and one out of so many MiB, by the driver API; prints the rate of each in MB/s.
COPIES = """
import ctypes, os, sys, time
mib, kind = int(sys.argv[1]), sys.argv[2]
cuda = ctypes.CDLL("libcuda.so.1")
def ok(result): assert result == 0, result
device, context, there = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
size = ctypes.c_size_t(mib << 20)
ok(cuda.cuInit(0)); ok(cuda.cuDeviceGet(ctypes.byref(device), 0))
ok(cuda.cuCtxCreate_v2(ctypes.byref(context), 0, device))
ok(cuda.cuMemAlloc_v2(ctypes.byref(there), size))
# Counters of 32 bits, as indices are, or bytes that nothing makes fewer.
data = (b"".join(i.to_bytes(4, "little") for i in range(1 << 18)) * mib if kind == "counters"
        else os.urandom(mib << 20))
back = ctypes.create_string_buffer(mib << 20)
for timed in (False, True):
    begun = time.monotonic()
    ok(cuda.cuMemcpyHtoD_v2(there, data, size)); ok(cuda.cuCtxSynchronize())
    arrived = time.monotonic()
    ok(cuda.cuMemcpyDtoH_v2(back, there, size))
    done = time.monotonic()
assert back.raw == data
print((mib << 20) / 1e6 / (arrived - begun), (mib << 20) / 1e6 / (done - arrived))
"""


def payloads(build):
    with Pool(build, server_words=["--compress"]) as pool:
        words = [program(build, "big_copies")]
        plain = round_trips(pool, pool.url(), words)
        packed = round_trips(pool, pool.url(), words, FARCALL_COMPRESS="on")
        expect(packed["output"] == plain["output"], f"{packed['output']} is not {plain['output']}")
        expect("compressed" in packed["link"] and "compressed" not in plain["link"], packed["link"])
        for way in ("out", "in"):
            expect(packed[f"bulk_bytes_{way}"] == plain[f"bulk_bytes_{way}"], packed)
            expect(plain[f"bulk_wire_bytes_{way}"] > plain[f"bulk_bytes_{way}"], plain)
            expect(packed[f"bulk_wire_bytes_{way}"] < 0.8 * packed[f"bulk_bytes_{way}"], packed)


def refused(build):
    """A server that was not told to compress does not, whoever asks; the session lives on."""
    with Pool(build) as pool:
        figures = round_trips(pool, pool.url(), [program(build, "big_copies")],
                              FARCALL_COMPRESS="on")
        expect("compressed" not in figures["link"], figures["link"])
        expect(figures["bulk_wire_bytes_out"] > figures["bulk_bytes_out"], figures)


def unknown(build):
    with Pool(build) as pool:
        done = pool.run([program(build, "vector_add")], FARCALL_COMPRESS="very")
        expect(done.returncode != 0, "a word nobody knows was taken")


def table(build, *lines):
    print("| line | data | off | auto | on |\n|---|---|---|---|---|")
    with Pool(build, server_words=["--compress"]) as pool:
        for mbit in map(int, lines or (100, 1000, 10000)):
            # A window: else the proxy would swallow a whole copy before it is slow.
            with SlowLink(build, pool.port, 5, mbit=mbit, window_kib=8192) as link:
                for kind in ("counters", "noise"):
                    cells = []
                    for mode in ("off", "auto", "on"):
                        environment = pool.environment() | {
                            "FARCALL_SERVER": link.server, "FARCALL_COMPRESS": mode,
                            "FARCALL_LANES": "1"}
                        rates = []
                        for _ in range(3 if mbit > 100 else 1):
                            done = run([sys.executable, "-c", COPIES, "64", kind], environment)
                            expect(done.returncode == 0, done.stderr)
                            rates.append([float(word) for word in done.stdout.split()])
                        up, down = (statistics.median(rate[way] for rate in rates)
                                    for way in (0, 1))
                        cells.append(f"{up:.0f} / {down:.0f} MB/s")
                    print(f"| {mbit} Mbit/s | {kind} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main({case.__name__: case for case in (payloads, refused, unknown, table)})
