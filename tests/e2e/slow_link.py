#!/usr/bin/env python3
"""Links that are far away: what a program costs there is counted in round trips, not in time.

Usage: slow_link.py BUILD steps | copies | lanes    as tests
       slow_link.py BUILD table [RTT_MS…]           measures and prints the tables of
       slow_link.py BUILD lanes_table [RTT_MS…]     tools/bench/results
"""
import json
import pathlib
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from pool import OFF, Pool, clean_environment, expect, main, program, run  # noqa: E402

RTTS_MS = (0.1, 0.5, 5, 30)
TRIPS_A_STEP_MAX = 1.1


class SlowLink:
    """tests/support/slow_link in front of a port: use .server in its place."""

    def __init__(self, build, port, rtt_ms, mbit=None, window_kib=None):
        self._command = [build / "bin" / "slow_link", str(port), "--rtt-us", str(rtt_ms * 1000)]
        for option, value in ("--mbit", mbit), ("--window-kib", window_kib):
            self._command += [option, str(value)] if value else []

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


def round_trips(pool, server, words, **more):
    """Runs a program to its end; its figures and the seconds it took."""
    figures = pool.folder / "figures.json"
    started = time.monotonic()
    done = pool.run(words, FARCALL_SERVER=server, FARCALL_STATS=str(figures), **more)
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


def bandwidth(pool, server, lanes):
    """What farcall netperf says of payloads each way, in GB/s, and the connections it had."""
    certificate, key = pool.client
    done = run([pool.farcall, "netperf", "--server", server, "--lanes", str(lanes), "--cert",
                certificate, "--key", key, "--ca", pool.authority.ca, "-o", "json"],
               clean_environment() | {"FARCALL_OFF": OFF})
    expect(done.returncode == 0, f"{done.stdout}{done.stderr}")
    told = json.loads(done.stdout)
    return told["to_server_gb_s"], told["to_client_gb_s"], told["lanes"]


def lanes(build):
    """Where a window is all that a connection carries in a round trip, four carry more than one."""
    with Pool(build) as pool, SlowLink(build, pool.port, 20, window_kib=256) as link:
        one = bandwidth(pool, link.server, 1)
        four = bandwidth(pool, link.server, 4)
        expect(one[2] == 1, f"{one[2]} connections where one was asked for")
        if OFF == "all" or "stripes" in OFF.split(","):
            expect(four[2] == 1, f"{four[2]} connections with stripes off")
            return
        expect(four[2] == 4, f"{four[2]} connections where four were asked for")
        # No time is judged, only windows: four of them against one, with much to spare.
        for way in (0, 1):
            expect(four[way] > 2 * one[way], f"{four[way]} GB/s by four, {one[way]} GB/s by one")
        figures = round_trips(pool, link.server, [program(build, "big_copies")], FARCALL_LANES="4")
        expect(OFF or figures["bulk_connections"] == 4, figures["bulk_connections"])


def lanes_table(build, *rtts):
    """Payloads over links whose connections have a window of 2 MiB, on a line of 10 Gbit/s."""
    print("| round trip | connections | to the server | from it |\n|---|---|---|---|")
    with Pool(build) as pool:
        for rtt_ms in map(float, rtts or (0.5, 5, 30)):
            with SlowLink(build, pool.port, rtt_ms, mbit=10000, window_kib=2048) as link:
                for count in (1, 2, 4, 8):
                    rounds = [bandwidth(pool, link.server, count) for _ in range(3)]
                    up, down = (statistics.median(one[way] for one in rounds) for way in (0, 1))
                    print(f"| {rtt_ms:g} ms | {count} | {up * 1e3:.0f} MB/s | "
                          f"{down * 1e3:.0f} MB/s |", flush=True)


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
    main({case.__name__: case for case in (steps, copies, lanes, table, lanes_table)})
