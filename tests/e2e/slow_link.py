#!/usr/bin/env python3
"""Links that are far away: what a program costs there is counted in round trips, not in time.

Usage: slow_link.py BUILD steps | copies     as tests
       slow_link.py BUILD table [RTT_MS…]    measures and prints the table of tools/bench/results
"""
import json
import pathlib
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from pool import Pool, expect, main, program  # noqa: E402

RTTS_MS = (0.1, 0.5, 5, 30)
TRIPS_A_STEP_MAX = 1.1


class SlowLink:
    """tests/support/slow_link in front of a port: use .server in its place."""

    def __init__(self, build, port, rtt_ms, mbit=None):
        command = [build / "bin" / "slow_link", str(port), "--rtt-us", str(rtt_ms * 1000)]
        self._command = command + (["--mbit", str(mbit)] if mbit else [])

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True)
        # tcp: else both ends would find that they share a machine, and go round the slow link.
        self.server = f"tcp://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


def round_trips(pool, server, words):
    """Runs a program to its end; its figures and the seconds it took."""
    figures = pool.folder / "figures.json"
    started = time.monotonic()
    done = pool.run(words, FARCALL_SERVER=server, FARCALL_STATS=str(figures))
    took = time.monotonic() - started
    expect(done.returncode == 0, f"{words}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return json.loads(figures.read_text()) | {"took": took, "output": done.stdout}


def one_step(pool, server, mode, steps):
    """Round trips and seconds of one step: two runs of different length, so the start cancels."""
    few, many = (round_trips(pool, server, [pool.program("step_loop"), count, mode])
                 for count in (str(10), str(10 + steps)))
    return ((many["round_trips"] - few["round_trips"]) / steps,
            (many["seconds"] - few["seconds"]) / steps, few)


def steps(build):
    program(build, "step_loop")
    with Pool(build) as pool:
        for rtt_ms in RTTS_MS:
            with SlowLink(build, pool.port, rtt_ms) as link:
                for mode in ("wait", "read"):
                    trips, _, _ = one_step(pool, link.server, mode, 40)
                    expect(trips <= TRIPS_A_STEP_MAX,
                           f"{mode} at {rtt_ms} ms: {trips} round trips a step")
                    # The other way round: the link is where it should be, so the wait is real.
                    expect(trips >= 0.9, f"{mode} at {rtt_ms} ms: only {trips} round trips a step")


def copies(build):
    program(build, "big_copies")
    with Pool(build) as pool:
        direct = round_trips(pool, f"tcp://127.0.0.1:{pool.port}", [pool.program("big_copies")])
        with SlowLink(build, pool.port, 5, mbit=8000) as link:
            far = round_trips(pool, link.server, [pool.program("big_copies")])
    expect(far["output"] == direct["output"], f"{far['output']} is not {direct['output']}")
    expect(far["round_trips"] == direct["round_trips"],
           f"{far['round_trips']} round trips far away, {direct['round_trips']} nearby")


def table(build, *rtts):
    print("| round trip | loop | round trips a step | a step | of it the link | "
          "a run of 10 steps |\n|---|---|---|---|---|---|")
    with Pool(build) as pool:
        for rtt_ms in map(float, rtts or (0, *RTTS_MS)):
            with SlowLink(build, pool.port, rtt_ms) as link:
                for mode in ("wait", "read", "pinned"):
                    # Far away the delay is all there is, and one round says it.
                    rounds = [one_step(pool, link.server, mode, 50)
                              for _ in range(3 if rtt_ms < 5 else 1)]
                    trips = rounds[0][0]
                    step_ms = statistics.median(one[1] for one in rounds) * 1e3
                    run_ms = statistics.median(one[2]["took"] for one in rounds) * 1e3
                    share = f"{100 * trips * rtt_ms / step_ms:.0f} %" if rtt_ms else "–"
                    print(f"| {rtt_ms:g} ms | {mode} | {trips:.2f} | {step_ms:.2f} ms | {share} | "
                          f"{run_ms:.0f} ms |", flush=True)


if __name__ == "__main__":
    main({"steps": steps, "copies": copies, "table": table})
